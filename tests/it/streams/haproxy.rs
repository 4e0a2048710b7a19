//! The PROXY protocol with a real peer: haproxy before a forward and behind it, both versions.

use std::{
    fmt::Write as _,
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command},
};

use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, sleep},
};

use super::{PATIENCE, Service, closes, nobody, read_all};
use crate::program::end_group;

struct Haproxy(Child);

impl Haproxy {
    fn start(folder: &Path, parts: &str) -> Self {
        let file = folder.join("haproxy.cfg");
        let head =
            "global\n maxconn 100\ndefaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
        fs::write(&file, format!("{head}{parts}")).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file).process_group(0);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        end_group(&mut self.0);
    }
}

/// Cases 32 and 33: client → haproxy → forward → haproxy, which answers with the addresses that the header told it.
#[tokio::test]
async fn haproxy_before_and_behind_agrees_about_the_client() {
    let behind = nobody();
    let mut parts = format!(
        "frontend behind\n mode http\n bind {behind} accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string \"%ci %cp %fi %fp\"\n"
    );
    let mut ways = vec![];
    for (how, version) in
        [("send-proxy", "v1"), ("send-proxy-v2", "v2"), ("send-proxy-v2 proxy-v2-options crc32c", "v1")]
    {
        let key = format!("proxy_protocol: {{ accept: true, trust: 127.0.0.0/8, send: {version} }}");
        let service = Service::forward(&format!("{{ listen: 0, to: '{behind}', {key} }}")).await;
        let (front, forward, number) = (nobody(), service.at(0), ways.len());
        write!(parts, "listen before{number}\n mode tcp\n bind {front}\n server forward {forward} {how}\n")
            .unwrap();
        ways.push((front, service));
    }
    let folder = tempfile::tempdir().unwrap();
    let _haproxy = Haproxy::start(folder.path(), &parts);
    let start = Instant::now();
    while TcpStream::connect(behind).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "haproxy does not listen");
        sleep(std::time::Duration::from_millis(10)).await;
    }
    for (front, service) in ways {
        let mut client = TcpStream::connect(front).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let own = client.local_addr().unwrap();
        let answer = String::from_utf8(read_all(&mut client).await.0).unwrap();
        let told = format!("{} {} {} {}", own.ip(), own.port(), front.ip(), front.port());
        assert!(answer.starts_with("HTTP/1") && answer.ends_with(&told), "{told}: {answer}");
        drop(client);
        let recorder = service.recorder.clone();
        service.end().await;
        assert_eq!(closes(&recorder).len(), 1);
    }
}

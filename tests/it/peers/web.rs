//! HTTP through a forward: curl and wrk with nginx behind it; and TLS, which passes untouched.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{Host, noise, stopped};
use crate::program::Running;

/// nginx that serves a folder on port 80 and takes uploads.
fn nginx(host: &Host) -> (TempDir, Running) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let conf = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/errors;
        events {{ worker_connections 512; }}
        http {{
            access_log off; keepalive_requests 1000000;
            client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
            uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
            server {{
                listen 127.0.0.1:80; root {at}/files; client_max_body_size 1g;
                location / {{ dav_methods PUT; }}
            }}
        }}"
    );
    fs::create_dir(folder.path().join("files")).unwrap();
    fs::write(folder.path().join("conf"), conf).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = host.server(80, "nginx", &["-c", &path("conf"), "-e", &path("errors")]);
    (folder, server)
}

#[test]
fn curl_loads_down_and_up_and_keeps_its_connection() {
    let host = Host::new();
    let (folder, _nginx) = nginx(&host);
    let forward = host.forward("127.0.0.1:80");
    let (small, large) = (noise(1, 1000), noise(2, 32 << 20));
    fs::write(folder.path().join("files/small"), &small).unwrap();
    fs::write(folder.path().join("files/large"), &large).unwrap();
    let curl = |arguments: &[&str]| host.run("curl", &[&["-sS", "--fail"], arguments].concat());
    assert!(curl(&["http://127.0.0.1:8800/large"]) == large);
    let local = folder.path().join("files/large").display().to_string();
    curl(&["-T", &local, "http://127.0.0.1:8800/uploaded"]);
    assert!(fs::read(folder.path().join("files/uploaded")).unwrap() == large);
    let url = "http://127.0.0.1:8800/small";
    let connects = curl(&["-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", url, url]);
    assert_eq!(String::from_utf8_lossy(&connects), "1 0 ", "both over one connection");
    let said = stopped(forward);
    assert_eq!(said.matches(" finished: ").count(), 3, "{said}");
}

#[test]
fn a_load_of_requests_has_no_error() {
    let host = Host::new();
    let (folder, _nginx) = nginx(&host);
    fs::write(folder.path().join("files/page"), noise(3, 10_000)).unwrap();
    let forward = host.forward("127.0.0.1:80");
    let wrk = host.run("wrk", &["-t1", "-c20", "-d1s", "http://127.0.0.1:8800/page"]);
    let report = String::from_utf8_lossy(&wrk);
    let requests = report.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok());
    assert!(requests.is_some_and(|requests: u64| requests >= 100), "{report}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    // A connection for each request, which nginx ends.
    let close = ["-H", "Connection: close"];
    let wrk =
        host.run("wrk", &[&["-t1", "-c20", "-d1s"], &close[..], &["http://127.0.0.1:8800/page"]].concat());
    let report = String::from_utf8_lossy(&wrk);
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    stopped(forward);
}

#[test]
fn iperf3_measures_both_ways_without_an_error() {
    let host = Host::new();
    let ways = [&[][..], &["-R"], &["-P", "8"], &["-P", "8", "-R"]];
    // A server for each: it is still busy with the last test for a moment after its client.
    let ports = ["5201", "5202", "5203", "5204"];
    let server =
        |port: &&str| host.server(port.parse().unwrap(), "iperf3", &["-s", "-B", "127.0.0.1", "-p", port]);
    let _servers: Vec<_> = ports.iter().map(server).collect();
    let forward = host.netjobs(&["forward", "127.0.0.1:8801-8804", "--to", "127.0.0.1:5201-5204"]);
    for (more, port) in ways.into_iter().zip(["8801", "8802", "8803", "8804"]) {
        let client = ["-c", "127.0.0.1", "-p", port, "-n", "64M", "-J"];
        let report: Value = serde_json::from_slice(&host.run("iperf3", &[&client, more].concat())).unwrap();
        assert!(report.get("error").is_none(), "{more:?}: {report}");
        let received = report["end"]["sum_received"]["bytes"].as_u64().unwrap();
        // A sender that has sent all ends the test, and what the kernel still holds on the way is not counted.
        assert!(received >= 1 << 20, "{more:?}: {received} bytes were received");
    }
    stopped(forward);
}

#[test]
fn tls_passes_untouched() {
    let host = Host::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, certificate) = (path("key"), path("certificate"));
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    host.run("openssl", &[&new, &subject[..], &["-keyout", &key, "-out", &certificate]].concat());
    let server = ["s_server", "-accept", "127.0.0.1:443", "-key", &key, "-cert", &certificate, "-rev"];
    let _server = host.server(443, "openssl", &server);
    let forward = host.forward("127.0.0.1:443");
    // The server gives each line back reversed, and ends at CLOSE.
    let client = format!(
        "printf 'Hello\\nCLOSE\\n' | openssl s_client -quiet -connect 127.0.0.1:8800 -CAfile {certificate} \
         -verify_return_error -verify_hostname localhost"
    );
    let answer = host.run("sh", &["-c", &client]);
    assert_eq!(String::from_utf8_lossy(&answer), "olleH\n");
    stopped(forward);
}

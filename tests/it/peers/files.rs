//! Files and commands through a forward: rsync and ssh.

use std::{
    fs::{self, File},
    io::Write as _,
};

use super::{Host, noise, stopped};

/// As many bytes as in a mebibyte.
const MIB: usize = 1 << 20;

/// 256 MiB, and 1 GiB with `NETJOBS_FULL=1`.
#[test]
fn rsync_copies_a_large_file_exactly() {
    let full = std::env::var_os("NETJOBS_FULL").is_some();
    let host = Host::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("files")).unwrap();
    let mut file = File::create(path("files/large")).unwrap();
    let mut block = noise(5, MIB);
    for number in 0..if full { 1024u32 } else { 256 } {
        block[..4].copy_from_slice(&number.to_be_bytes());
        file.write_all(&block).unwrap();
    }
    drop(file);
    let conf = format!(
        "uid = root\ngid = root\nuse chroot = no\nlog file = /dev/null\n[files]\npath = {}\nread only = yes\n",
        path("files")
    );
    fs::write(path("conf"), conf).unwrap();
    let config = format!("--config={}", path("conf"));
    let _daemon =
        host.server(873, "rsync", &["--daemon", "--no-detach", "--address=127.0.0.1", "--port=873", &config]);
    let forward = host.forward("127.0.0.1:873");
    host.run("rsync", &["--whole-file", "rsync://127.0.0.1:8800/files/large", &path("copy")]);
    let sum = |name: &str| host.run("sha256sum", &["--zero", &path(name)])[..64].to_vec();
    assert!(sum("files/large") == sum("copy"));
    stopped(forward);
}

#[test]
fn ssh_runs_a_command_and_copies_a_file() {
    let host = Host::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for key in ["host", "user"] {
        host.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]);
    }
    let conf = format!(
        "ListenAddress 127.0.0.1:22\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
         StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
        path("host"),
        path("user.pub")
    );
    fs::write(path("conf"), conf).unwrap();
    // sshd wants its folder in /run; this one is nobody else's.
    let script = format!(
        "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec /usr/sbin/sshd -D -e -f {}",
        path("conf")
    );
    let _server = host.server(22, "unshare", &["-m", "sh", "-ec", &script]);
    let forward = host.forward("127.0.0.1:22");
    let user = path("user");
    let options = [
        "-F",
        "none",
        "-i",
        &user,
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
    ];
    let ssh = ["-p", "8800", "root@127.0.0.1", "echo here; exit 3"];
    let output = host.output("ssh", &[&options, &ssh[..]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"here\n"[..]), "{error}");
    fs::write(path("sent"), noise(7, 8 * MIB)).unwrap();
    let to = format!("root@127.0.0.1:{}", path("copied"));
    host.run("scp", &[&options, &["-q", "-P", "8800", &path("sent"), &to][..]].concat());
    assert!(fs::read(path("sent")).unwrap() == fs::read(path("copied")).unwrap());
    let said = stopped(forward);
    assert_eq!(said.matches(" finished: ").count(), 2, "{said}");
}

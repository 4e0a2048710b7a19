//! `https` against a server of the test's own, with a certificate of its own authority.

use std::{path::Path, sync::Arc};

use netjobs::{
    kind::wait::Wait,
    outcome::{Sample, Verdict},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{run, sample};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");

fn acceptor() -> TlsAcceptor {
    let at = |name: &str| Path::new(FOLDER).join(name);
    let chain = CertificateDer::pem_file_iter(at("server.pem")).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(at("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config).into()
}

async fn serve(listener: TcpListener) {
    let acceptor = acceptor();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust us breaks off.
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready").await;
        let _ = stream.shutdown().await;
    }
}

/// A wait for the server under this host name; passed, or failed with `tls`.
async fn check(host: &str, http: &str, passes: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let yaml = format!("{{ for: 'https://{host}:{port}/', timeout: 400ms, family: 4, http: {{ {http} }} }}");
    let (outcome, _) = tokio::select! {
        () = serve(listener) => unreachable!("the server has no end"),
        done = run::<Wait>(&yaml) => done,
    };
    if passes {
        assert_eq!(outcome.verdict, Verdict::Passed, "{yaml}: {outcome:?}");
    } else {
        assert_eq!(sample(&outcome, "last_reason"), &Sample::Word("tls"), "{yaml}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_and_for_its_host() {
    check("localhost", &format!("ca: {FOLDER}/ca.pem, body: ready"), true).await;
    check("127.0.0.1", &format!("ca: {FOLDER}/ca.pem"), true).await;
    check("db.localhost", &format!("ca: {FOLDER}/ca.pem"), false).await;
}

#[tokio::test]
async fn who_is_not_verified_need_not_be_trusted() {
    check("db.localhost", "verify: false, body: ready", true).await;
}

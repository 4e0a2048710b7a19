//! TLS under HTTP (rustls, ring): who is trusted, and what went wrong. Without the feature `tls` nothing can be asked.

use std::{io, path::PathBuf};

use crate::{net::probe::Miss, outcome::Reason};

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's root certificates.
    System,
    /// Those in a PEM file only.
    File(PathBuf),
    /// Anybody.
    Anybody,
}

#[cfg(feature = "tls")]
pub use on::Tls;

#[cfg(not(feature = "tls"))]
pub use off::Tls;

/// A miss of a connection that may be encrypted.
pub(super) fn sorted(error: &io::Error) -> Miss {
    #[cfg(feature = "tls")]
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Miss::new(Reason::Tls, error.to_string());
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Miss::new(Reason::Closed, "the connection ended before the answer"),
        _ => Miss::from_io(error),
    }
}

#[cfg(feature = "tls")]
mod on {
    use std::{io, path::Path, sync::Arc};

    use rustls::{
        ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    };
    use tokio::net::TcpStream;
    use tokio_rustls::{TlsConnector, client::TlsStream};

    use super::{Miss, Reason, Trust};
    use crate::{net::Error, value::Host};

    /// How to encrypt.
    #[derive(Clone)]
    pub struct Tls(TlsConnector);

    impl std::fmt::Debug for Tls {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Tls")
        }
    }

    impl Tls {
        /// Reads the certificates, from the disk.
        pub async fn new(trust: Trust) -> Result<Self, Error> {
            let config = tokio::task::spawn_blocking(move || config(&trust)).await;
            let config = config.map_err(|error| cannot("set up TLS", io::Error::other(error)))??;
            Ok(Self(Arc::new(config).into()))
        }

        /// Shakes hands.
        pub(in crate::net::http) async fn wrap(
            &self,
            stream: TcpStream,
            host: &Host,
        ) -> Result<TlsStream<TcpStream>, Miss> {
            let name = match host {
                Host::Ip(address) => ServerName::from(*address),
                Host::Scoped(address, _) => ServerName::from(std::net::IpAddr::from(*address)),
                Host::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                    .map_err(|error| Miss::new(Reason::Tls, error.to_string()))?,
            };
            self.0.connect(name, stream).await.map_err(|error| super::sorted(&error))
        }
    }

    fn config(trust: &Trust) -> Result<ClientConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| cannot("set up TLS", io::Error::other(error)))?;
        let roots = match trust {
            Trust::Anybody => {
                let verifier = Arc::new(AcceptAll(provider));
                return Ok(builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_no_client_auth());
            }
            Trust::File(path) => from_file(path)?,
            Trust::System => from_system()?,
        };
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn from_file(path: &Path) -> Result<RootCertStore, Error> {
        let operation = || format!("read the certificates in {}", path.display());
        let other = |error| cannot(operation(), io::Error::other(error));
        let pem = std::fs::read(path).map_err(|error| cannot(operation(), error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| other(error.to_string()))?;
            roots.add(certificate).map_err(|error| other(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(other("there is none".to_owned()));
        }
        Ok(roots)
    }

    fn from_system() -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let missing =
                io::Error::new(io::ErrorKind::NotFound, "there are none: install `ca-certificates`");
            return Err(cannot("read the system's root certificates", missing));
        }
        Ok(roots)
    }

    fn cannot(operation: impl Into<String>, source: io::Error) -> Error {
        Error::System { operation: operation.into(), source }
    }

    /// Trusts any certificate and still checks that the server holds its key.
    #[derive(Debug)]
    struct AcceptAll(Arc<CryptoProvider>);

    impl ServerCertVerifier for AcceptAll {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(not(feature = "tls"))]
mod off {
    use tokio::net::TcpStream;

    use super::{Miss, Trust};
    use crate::{net::Error, value::Host};

    /// How to encrypt: this build cannot.
    #[derive(Clone, Debug)]
    pub enum Tls {}

    impl Tls {
        /// Says that this build has no TLS.
        pub async fn new(_: Trust) -> Result<Self, Error> {
            Err(Error::System {
                operation: "set up TLS".into(),
                source: std::io::ErrorKind::Unsupported.into(),
            })
        }

        #[expect(clippy::unused_async, reason = "the same face as with TLS")]
        pub(in crate::net::http) async fn wrap(&self, _: TcpStream, _: &Host) -> Result<TcpStream, Miss> {
            match *self {}
        }
    }
}

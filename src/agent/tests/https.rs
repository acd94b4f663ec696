//! HTTPS with a CA of one's own, against a real server that speaks TLS.

use super::http::{ask, limits, openai_text, read_request};
use crate::agent::AgentError;
use crate::agent::openai::OpenAi;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

/// A server for `localhost` whose certificate a new CA has signed; its address, and the CA's certificate in PEM.
fn server() -> (String, String) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("a CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("a CA signs itself");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .and_then(|parameters| parameters.signed_by(&key, &Issuer::new(ca, &ca_key)))
        .expect("the CA signs");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("key and certificate belong together");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("https://localhost:{}/v1", listener.local_addr().expect("it is bound").port());
    let config = Arc::new(config);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = ServerConnection::new(config.clone()).expect("the configuration is sound");
            let mut stream = StreamOwned::new(connection, stream);
            // A client that does not trust us hangs up.
            let Some(_) = read_request(&mut stream) else { continue };
            let _ = stream.write_all(openai_text().as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, ca_certificate.pem())
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, text).expect("it can be written");
    (folder, path)
}

#[test]
fn a_server_with_a_certificate_of_ones_own_ca_is_asked_where_ca_file_names_it() {
    let (base, pem) = server();
    let (_folder, file) = written(&pem);
    let answer = ask(OpenAi::new(&base), &base, Some(&file), limits()).expect("the CA is known");
    assert_eq!(answer.text, "fn step() {}");
}

#[test]
fn a_server_that_nobody_vouches_for_gets_neither_prompt_nor_key() {
    let (base, _) = server();
    let (_, stranger) = server();
    let (_folder, file) = written(&stranger);
    let error = ask(OpenAi::new(&base), &base, Some(&file), limits()).expect_err("another CA signed it");
    assert!(matches!(error, AgentError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("--ca-file"), "{error}");
}

#[test]
fn a_ca_file_that_is_none_is_named_before_anything_is_asked() {
    let (_folder, file) = written("not a certificate");
    let error = ask(OpenAi::new("https://localhost"), "https://localhost", Some(&file), limits()).expect_err("no PEM");
    assert!(error.to_string().contains("no certificate in PEM format"), "{error}");
    let gone = file.with_file_name("gone.pem");
    let error = ask(OpenAi::new("https://localhost"), "https://localhost", Some(&gone), limits()).expect_err("no file");
    assert!(error.to_string().contains("gone.pem"), "{error}");
}

//! A certificate for this host, of an authority that nobody knows.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::write;

/// Makes an authority, `ca.pem`, and certificates of it for this host, `cert.pem` and `key.pem`, and for a client,
/// `client.pem` and `client-key.pem`, in `folder`.
///
/// # Panics
/// If they cannot be made.
pub fn write_certificates(folder: &Path) {
    let key = || KeyPair::generate().expect("a P-256 key can be made");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are valid names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = key();
    let ca = authority.self_signed(&authority_key).expect("a certificate can be signed");
    let issuer = Issuer::new(authority, authority_key);
    write(&folder.join("ca.pem"), &ca.pem());
    let signed = |names: &[&str], cert: &str, key_file: &str| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("they are valid names");
        let key = key();
        let signed = params.signed_by(&key, &issuer).expect("a certificate can be signed");
        write(&folder.join(cert), &signed.pem());
        write(&folder.join(key_file), &key.serialize_pem());
    };
    signed(&["localhost", "127.0.0.1"], "cert.pem", "key.pem");
    signed(&["client"], "client.pem", "client-key.pem");
}

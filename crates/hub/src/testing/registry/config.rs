//! What docker-registry is told: its configuration file, users and certificates.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::{Auth, RegistryOptions};
use crate::testing::token::{ISSUER, SERVICE, TokenServer};

/// The user and the password that this module's parent names, as htpasswd writes them, at bcrypt's lowest cost.
const HTPASSWD: &str = "spore:$2b$04$GG4d3Ik0SOaRoDSJhHkGlezd/LLmrvlj7HDVFHDzL/AF29M1aVAOu\n";

/// Writes `config.yml`, and what it refers to, into the folder that keeps everything.
pub(super) fn write_config(folder: &Path, options: &RegistryOptions, tokens: Option<&TokenServer>) {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut config = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
         http:\n  addr: 127.0.0.1:0\n  secret: of a test\n",
        path("data"),
    );
    if options.tls {
        write_certificates(folder);
        let clients = match options.auth {
            Auth::Certificate => format!(", clientcas: [{}]", path("ca.pem")),
            _ => String::new(),
        };
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let _ = writeln!(config, "  tls: {{certificate: {cert}, key: {key}{clients}}}");
    }
    match options.auth {
        Auth::Open | Auth::Certificate => {}
        Auth::Basic => {
            write(&folder.join("htpasswd"), HTPASSWD);
            let _ = writeln!(config, "auth:\n  htpasswd: {{realm: spore-test, path: {}}}", path("htpasswd"));
        }
        Auth::Token(_) => {
            let tokens = tokens.expect("a registry with tokens has a token server");
            write(&folder.join("tokens.pem"), &tokens.certificate_pem());
            let _ = writeln!(
                config,
                "auth:\n  token: {{realm: \"{}\", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {}}}",
                tokens.realm(),
                path("tokens.pem"),
            );
        }
    }
    write(&folder.join("config.yml"), &config);
}

/// Makes an authority, and certificates of it for this host and for a client.
fn write_certificates(folder: &Path) {
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

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

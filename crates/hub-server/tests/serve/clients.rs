//! Clients of others: skopeo carries a snapshot in and out, curl reads parts.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use format::Digest;
use hub::testing::{SampleSpec, put_sample};
use store::Store;

use crate::world::{Setup, World, token, tokens};

/// What a program of others says; none if it is not installed.
async fn foreign(test: &str, command: Command) -> Option<Vec<u8>> {
    let program = command.get_program().display().to_string();
    let output = tokio::process::Command::from(command).output().await;
    let Ok(output) = output else {
        println!("skipped: clients::{test}: {program} is not installed");
        return None;
    };
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_pushes_and_pulls_byte_for_byte() {
    let test = "skopeo_pushes_and_pulls_byte_for_byte";
    let (alice, entry) = token("alice", &["alice/"], true, false);
    let world = World::new(Setup { policy: tokens(&[&entry]), tls: true, ..Setup::default() }).await;
    let path = |name: &str| world.temp.path().join(name);
    fs::create_dir(path("certs")).unwrap();
    fs::copy(path("ca.pem"), path("certs/ca.crt")).unwrap();
    // A layout that a push to a folder has made is what skopeo begins with.
    let store = Store::open(&path("store")).unwrap();
    let sample = put_sample(&store, &SampleSpec { memory_pages: 300, ..SampleSpec::default() }).unwrap();
    let layout = hub::HubLocation::folder(&path("layout")).unwrap();
    let layout = hub::open(&layout, &hub::testing::no_access()).unwrap();
    let plan = hub::plan_push(&store, &sample.digest, layout, &"sample".parse().unwrap()).await.unwrap();
    plan.execute(Some(&"1".parse().unwrap()), Arc::new(())).await.unwrap();
    let (here, back) = (path("layout").display().to_string(), path("back").display().to_string());
    let there = format!("docker://{}/alice/sample:1", world.host());
    let certificates = path("certs").display().to_string();
    let credentials = format!("any:{alice}");
    for arguments in [
        [
            "--dest-cert-dir",
            &certificates,
            "--dest-creds",
            &credentials,
            &format!("oci:{here}:sample:1"),
            &there,
        ],
        ["--src-cert-dir", &certificates, "--src-creds", &credentials, &there, &format!("oci:{back}:back")],
    ] {
        let mut skopeo = Command::new("timeout");
        skopeo.args(["120", "skopeo"]);
        skopeo.args(["--insecure-policy", "copy"]).args(arguments);
        if foreign(test, skopeo).await.is_none() {
            return;
        }
    }
    for digest in sample.manifest.blobs().map(|blob| blob.digest).chain([sample.digest]) {
        let carried = fs::read(path("back/blobs/sha256").join(digest.hex())).unwrap();
        assert_eq!(carried, fs::read(world.blob_file(&digest)).unwrap());
        assert_eq!(Digest::of(&carried), digest);
    }
    world.settles().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_parts() {
    let test = "curl_reads_parts";
    let world = World::open().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    world.put_blob("a", &bytes, None).await;
    let digest = Digest::of(&bytes);
    for path in [format!("/v2/a/blobs/{digest}"), format!("/blobs/sha256/{}", digest.hex())] {
        for (range, expected) in [
            ("0-0", &bytes[..1]),
            ("5-1004", &bytes[5..1005]),
            ("199990-", &bytes[199_990..]),
            ("-7", &bytes[199_993..]),
            ("199990-300000", &bytes[199_990..]),
        ] {
            let mut curl = Command::new("curl");
            curl.args(["-sSf", "--noproxy", "*", "--max-time", "20", "-w", "%{http_code}", "-r", range]);
            curl.arg(format!("{}{path}", world.url));
            let Some(said) = foreign(test, curl).await else { return };
            assert!(said == [expected, b"206"].concat(), "{path} {range}");
        }
        let beyond = world.request("GET", &path).header("range", "bytes=200000-").send().await.unwrap();
        assert_eq!(
            (beyond.status().as_u16(), &beyond.headers()["content-range"]),
            (416, &"bytes */200000".parse().unwrap())
        );
    }
}

//! Forward proxies, as the environment names them. It is a child's: this process's is every test's.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hub::testing::no_access;
use hub::testing::proxy::FaultProxy;
use hub::testing::registry::{RealRegistry, RegistryOptions};
use hub::{HubLocation, Registry};

use crate::world::{World, name, pull, tag};

const LOCATION: &str = "SPORE_TEST_HUB";
const AUTHORITY: &str = "SPORE_TEST_CA";
const STORE: &str = "SPORE_TEST_STORE";

/// Pulls the sample, as its environment says.
#[tokio::test]
#[ignore = "what children of the tests below do"]
async fn child() {
    let Ok(location) = std::env::var(LOCATION) else { return };
    let mut access = no_access();
    if let Some(ca) = std::env::var_os(AUTHORITY) {
        access.trust(Path::new(&ca)).unwrap();
    }
    let hub = hub::open(&HubLocation::parse(&location).unwrap(), &access).unwrap();
    let store = store::Store::open(Path::new(&std::env::var_os(STORE).unwrap())).unwrap();
    pull(&store, hub, &hub::Selector::Tag(tag())).await.unwrap();
}

/// Whether a child that has these variables can pull from there.
fn pulls(world: &World, location: &str, ca: Option<&Path>, variables: &[(&str, String)]) -> bool {
    let folder = tempfile::tempdir_in(world.temp.path()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "proxies::child", "--ignored"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        child.env_remove(name).env_remove(name.to_lowercase());
    }
    child.env(LOCATION, location).env(STORE, folder.path()).envs(variables.iter().cloned());
    child.envs(ca.map(|ca| (AUTHORITY, ca)));
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "{text}");
    output.status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_passes_a_proxy() {
    let test = "proxies::a_pull_passes_a_proxy";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    // It takes whatever URL a request has; what it stands before, too.
    let proxy = FaultProxy::start(registry.addr(), []);
    let world = World::new(&hub::testing::SampleSpec::default());
    push(&world, &format!("oci://{}", registry.addr()), &[]).await;
    // Nobody listens there.
    let far = "oci://127.0.0.9:9";
    let through = |no_proxy: &str| {
        [("HTTP_PROXY", proxy.url()), ("HTTPS_PROXY", proxy.url()), ("NO_PROXY", no_proxy.to_owned())]
    };
    assert!(!pulls(&world, far, None, &[]));
    assert!(pulls(&world, far, None, &through("")));
    let requests = proxy.requests();
    assert!(
        !requests.is_empty() && requests.iter().all(|seen| seen.path.starts_with("http://127.0.0.9:9/v2/"))
    );
    // Whatever is exempt is spoken to without it, and nothing is exempt by itself: nor what is local.
    assert!(!pulls(&world, far, None, &through("other.example,127.0.0.9")));
    assert_eq!(proxy.requests().len(), requests.len());
    assert!(pulls(&world, &format!("oci://{}", registry.addr()), None, &through("")));
    assert!(proxy.requests().len() > requests.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_over_tls_passes_a_proxy() {
    let test = "proxies::a_pull_over_tls_passes_a_proxy";
    let options = RegistryOptions { tls: true, ..RegistryOptions::default() };
    let Some(registry) = RealRegistry::start(test, &options) else { return };
    let ca = registry.ca().unwrap();
    let world = World::new(&hub::testing::SampleSpec::default());
    push(&world, &format!("oci+https://{}", registry.host()), &[&ca]).await;
    let (proxy, tunnels) = tunnel(registry.addr());
    let variables = [("HTTPS_PROXY", format!("http://{proxy}"))];
    // The certificate is for localhost, on whatever port.
    assert!(!pulls(&world, "oci+https://localhost:9", Some(&ca), &[]));
    assert!(pulls(&world, "oci+https://localhost:9", Some(&ca), &variables));
    assert!(tunnels.load(Ordering::Relaxed) > 0);
    // What is in the tunnel is believed no more than without.
    assert!(!pulls(&world, "oci+https://localhost:9", None, &variables));
}

async fn push(world: &World, location: &str, authorities: &[&Path]) {
    let mut access = no_access();
    authorities.iter().for_each(|ca| access.trust(ca).unwrap());
    let hub: Arc<dyn Registry> = hub::open(&HubLocation::parse(location).unwrap(), &access).unwrap();
    world.push_to(Arc::clone(&hub)).await.unwrap();
    assert_eq!(hub.tags(&name()).await.unwrap(), [tag()]);
}

/// A proxy that takes CONNECT (RFC 9110, 9.3.6) to port 9 alone, and leads to `target`; and how often it did.
fn tunnel(target: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            thread::spawn(move || lead(client, target, &counted));
        }
    });
    (addr, count)
}

fn lead(client: TcpStream, target: SocketAddr, count: &AtomicUsize) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let asked = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    if !asked.starts_with("CONNECT localhost:9 ") {
        return (&client).write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    }
    let server = TcpStream::connect(target)?;
    count.fetch_add(1, Ordering::Relaxed);
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    // The client speaks first, once it has been answered: nothing of it is in the reader above.
    let (mut to_server, mut from_client) = (server.try_clone()?, client.try_clone()?);
    let up = thread::spawn(move || {
        let copied = std::io::copy(&mut from_client, &mut to_server);
        to_server.shutdown(std::net::Shutdown::Write).ok();
        copied
    });
    let (mut to_client, mut from_server) = (client, server);
    std::io::copy(&mut from_server, &mut to_client)?;
    to_client.shutdown(std::net::Shutdown::Both).ok();
    up.join().ok();
    Ok(())
}

//! Slow lines: an upload takes as long as it takes, so long as it moves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use format::Digest;
use hub::bucket::TicketPush;
use hub::testing::proxy::{Direction, FaultProxy, Link};
use hub::testing::{MemorySource, garage, no_access};
use hub::{Access, Registry, Upload};

use crate::buckets::bucket;
use crate::damage::LARGE;
use crate::registry_faults::Behind;
use crate::tickets::{HOUR, sign};
use crate::world::{World, name};

/// What a hub may say and take nothing for: less than each of the uploads here takes.
const SILENCE: Duration = Duration::from_secs(3);
const BLOB: usize = 8 << 20;

fn line(rate: u64) -> Link {
    Link { delay: Duration::ZERO, rate: Some(rate) }
}

fn impatient(access: Access) -> Access {
    Access { silence: SILENCE, ..access }
}

/// Puts a blob, each byte of which goes over the line once, and takes longer than a silence may.
async fn put_slowly(hub: Arc<dyn Registry>, proxy: &FaultProxy, puts: &str) {
    let bytes = vec![7; BLOB];
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let source = MemorySource { bytes, fails: false };
    let name = name();
    let begun = Instant::now();
    hub.put_blob(&name, &Upload { digest, size, source: &source, mount_from: &[] }).await.unwrap();
    assert!(begun.elapsed() > SILENCE * 3, "{:?}", begun.elapsed());
    assert_eq!(proxy.count("PUT", puts), 1, "it was sent again");
    assert_eq!(hub.blob_size(&name, &digest).await.unwrap(), Some(size));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_reaches_a_registry() {
    let Some(behind) = Behind::start("a_blob_reaches_a_registry", []) else { return };
    behind.proxy.set_link(Direction::ToServer, line(768 << 10));
    let hub = behind.hub_as(&impatient(no_access()));
    put_slowly(hub, &behind.proxy, "/v2/team/sample/blobs/uploads/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_reaches_a_bucket() {
    let Some(bucket) = bucket("slow_lines", "a_blob_reaches_a_bucket") else { return };
    let proxy = FaultProxy::start(bucket.addr(), []);
    proxy.set_link(Direction::ToServer, line(768 << 10));
    let hub = hub::open(&bucket.location_at("", proxy.addr()), &impatient(bucket.access())).unwrap();
    put_slowly(hub, &proxy, &format!("/{}/blobs/", bucket.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_by_ticket_arrives() {
    let Some(bucket) = bucket("slow_lines", "a_push_by_ticket_arrives") else { return };
    let proxy = FaultProxy::start(bucket.addr(), []);
    let world = World::new(&LARGE);
    let ticket = sign(&world, &bucket, proxy.addr(), HOUR).await.unwrap();
    let before = proxy.count("PUT", "");
    let puts = ticket.blobs.len() + ticket.manifests.len() + usize::from(ticket.tagged.is_some());
    // Of several at once, each has some of it.
    proxy.set_link(Direction::ToServer, line(1500 << 10));
    let access = impatient(garage::access(None));
    let begun = Instant::now();
    let push = TicketPush::new(&world.source, &world.sample.digest, ticket, &access).await.unwrap();
    push.execute(Arc::new(())).await.unwrap();
    assert!(begun.elapsed() > SILENCE * 2, "{:?}", begun.elapsed());
    assert_eq!(proxy.count("PUT", "") - before, puts, "something was sent again");
}

//! Pushes by somebody without credentials: what a ticket lets its holder do, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hub::bucket::{SignedPut, Ticket, TicketError, TicketPush, presign};
use hub::testing::garage::{self, Bucket};
use hub::testing::proxy::{Fault, FaultProxy, Rule};
use hub::testing::{SampleSpec, put_sample};
use hub::{HubLocation, RawManifest, Selector};

use crate::buckets::{self, bucket};
use crate::world::{World, assert_pulled, name, pull, tag};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

async fn ticket(world: &World, bucket: &Bucket, lifetime: Duration) -> Ticket {
    sign(world, bucket, bucket.addr(), lifetime).await.unwrap()
}

/// A ticket for the bucket by way of `addr`.
pub(crate) async fn sign(
    world: &World,
    bucket: &Bucket,
    addr: SocketAddr,
    lifetime: Duration,
) -> Result<Ticket, TicketError> {
    let HubLocation::Bucket(location) = bucket.location_at("team/hub", addr) else { panic!("no bucket") };
    let bytes = world.source.read_manifest(&world.sample.digest).unwrap().1;
    let manifest = RawManifest::new(bytes).unwrap();
    let ticket = presign(&location, &bucket.access(), &name(), Some(&tag()), &manifest, lifetime).await?;
    // As it goes over the wire.
    Ticket::parse(&serde_json::to_vec(&ticket).unwrap())
}

async fn push(world: &World, ticket: Ticket) -> Result<(), TicketError> {
    let push = TicketPush::new(&world.source, &world.sample.digest, ticket, &garage::access(None)).await?;
    push.execute(Arc::new(())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_enough_to_push() {
    let Some(bucket) = bucket("tickets", "a_ticket_is_enough_to_push") else { return };
    let world = World::new(&SampleSpec::default());
    let ticket_of_all = ticket(&world, &bucket, HOUR).await;
    assert_eq!(ticket_of_all.blobs.len(), world.sample.manifest.blobs().count());
    push(&world, ticket_of_all).await.unwrap();
    pull(&world.target, buckets::open(&bucket), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    // What is there is left out.
    let again = ticket(&world, &bucket, HOUR).await;
    assert_eq!((again.blobs.len(), again.manifests.len(), again.tagged.is_some()), (0, 2, true));
    push(&world, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_for_one_snapshot_and_ends() {
    let Some(bucket) = bucket("tickets", "a_ticket_is_for_one_snapshot_and_ends") else { return };
    let world = World::new(&SampleSpec::default());
    let good = ticket(&world, &bucket, HOUR).await;
    let other = put_sample(&world.source, &SampleSpec { seed: "other", ..SampleSpec::default() }).unwrap();
    let error =
        TicketPush::new(&world.source, &other.digest, good.clone(), &garage::access(None)).await.err();
    assert!(matches!(error, Some(TicketError::Other { .. })));
    let mut foreign = good.clone();
    foreign.blobs[0].digest = format::Digest::of(b"x");
    assert!(matches!(push(&world, foreign).await, Err(TicketError::Malformed { .. })));
    let mut ended = good;
    ended.expires = jiff::Timestamp::now();
    assert!(matches!(push(&world, ended).await, Err(TicketError::Expired { .. })));
}

/// What a request of somebody who does as he likes is answered with.
async fn send(put: &SignedPut, change: impl FnOnce(&mut SignedPut), body: Vec<u8>) -> u16 {
    let mut put = put.clone();
    change(&mut put);
    let request = reqwest::Client::new().put(&put.url).body(body);
    let request = put.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    // A store may close the connection on what it refuses.
    request.send().await.map_or(0, |answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_refuses_all_that_was_not_signed() {
    let Some(bucket) = bucket("tickets", "the_store_refuses_all_that_was_not_signed") else { return };
    let world = World::new(&SampleSpec::default());
    let short = ticket(&world, &bucket, Duration::from_secs(1)).await;
    let signed = std::time::Instant::now();
    let good = ticket(&world, &bucket, HOUR).await;
    let hub = buckets::open(&bucket);
    let (put, other) = (&good.blobs[0], &good.blobs[1]);
    let bytes = world.source.read_blob(&put.digest, 64 << 20).unwrap();
    let mut wrong = bytes.clone();
    wrong[0] ^= 1;
    let longer = [bytes.as_slice(), b"x"].concat();
    let shorter = bytes[1..].to_vec();
    let length = |put: &mut SignedPut, bytes: &[u8]| {
        put.headers.insert("content-length".into(), bytes.len().to_string());
    };
    let refused = |status: u16| matches!(status, 0 | 400..500);
    let cases = [
        ("other bytes", send(put, |_| (), wrong.clone()).await),
        ("more bytes", send(put, |put| length(put, &longer), longer.clone()).await),
        ("fewer bytes", send(put, |put| length(put, &shorter), shorter.clone()).await),
        (
            "another checksum",
            send(
                put,
                |put| drop(put.headers.insert("x-amz-checksum-sha256".into(), "A".repeat(43) + "=")),
                wrong.clone(),
            )
            .await,
        ),
        (
            "no checksum",
            send(put, |put| drop(put.headers.remove("x-amz-checksum-sha256")), wrong.clone()).await,
        ),
        (
            "another type",
            send(
                put,
                |put| drop(put.headers.insert("content-type".into(), "text/html".into())),
                bytes.clone(),
            )
            .await,
        ),
        (
            "another object",
            send(put, |put| put.url = put.url.replace(&put.digest.hex(), &other.digest.hex()), bytes.clone())
                .await,
        ),
        (
            "another lifetime",
            send(put, |put| put.url = put.url.replace("Expires=3600", "Expires=7200"), bytes.clone()).await,
        ),
    ];
    for (what, status) in cases {
        assert!(refused(status), "{what}: {status}");
        for digest in [&put.digest, &other.digest] {
            assert_eq!(hub.blob_size(&name(), digest).await.unwrap(), None, "{what}");
        }
    }
    let signed_long_ago = || signed.elapsed() > Duration::from_secs(3);
    while !signed_long_ago() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(refused(send(&short.blobs[0], |_| (), bytes.clone()).await), "an ended signature was taken");
    assert_eq!(send(put, |_| (), bytes).await, 200);
    assert_eq!(hub.blob_size(&name(), &put.digest).await.unwrap(), Some(put.size));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_shows_where_to() {
    let Some(bucket) = bucket("tickets", "no_error_shows_where_to") else { return };
    let world = World::new(&SampleSpec::default());
    let mut changed = ticket(&world, &bucket, HOUR).await;
    for put in &mut changed.blobs {
        put.url = put.url.replace("Expires=3600", "Expires=7200");
    }
    let error = push(&world, changed.clone()).await.unwrap_err();
    let text = format!("{error} {error:?} {changed:?}");
    assert!(matches!(error, TicketError::Refused { status: 403, .. }), "{text}");
    assert!(!text.contains("X-Amz-Signature"), "{text}");
}

/// Its URLs are signatures: whoever the store leads to gets none of them, in whatever header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_for_its_store_alone() {
    let Some(bucket) = bucket("tickets", "a_ticket_is_for_its_store_alone") else { return };
    let (proxy, other) = (FaultProxy::start(bucket.addr(), []), FaultProxy::start(bucket.addr(), []));
    let world = World::new(&SampleSpec::default());
    let ticket = sign(&world, &bucket, proxy.addr(), HOUR).await.unwrap();
    for status in [303, 307] {
        let to = format!("{}/elsewhere", other.url());
        proxy.set_script([Rule::always(Fault::answer(status, &[("Location", &to)])).on("PUT", "")]);
        let error = push(&world, ticket.clone()).await.unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(other.requests(), []);
    }
}

/// Its holder cannot make young again what the hub has already: whoever signs does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_ticket_skips_outlives_it() {
    let Some(bucket) = bucket("tickets", "what_a_ticket_skips_outlives_it") else { return };
    let proxy = FaultProxy::start(bucket.addr(), []);
    let world = World::new(&SampleSpec::default());
    world.push_to(buckets::open(&bucket)).await.unwrap();
    let digest = world.digest_of("memory map");
    let key = format!("/{}/team/hub/blobs/sha256/{}", bucket.name(), digest.hex());
    let renewals = || {
        let requests = proxy.requests();
        requests
            .iter()
            .filter(|seen| seen.is("PUT", &key) && seen.header("x-amz-copy-source").is_some())
            .count()
    };
    // Somewhat younger than what every push makes young again, by what the store says of it.
    let modified = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(83 * 60 + 30);
    let modified = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&modified).unwrap();
    let size = usize::try_from(world.source.blob_size(&digest).unwrap()).unwrap();
    proxy.add(
        Rule::always(Fault::Answer {
            status: 200,
            headers: vec![("Last-Modified".to_owned(), modified), ("ETag".to_owned(), "\"x\"".to_owned())],
            body: "x".repeat(size),
        })
        .on("HEAD", &key),
    );
    for (hours, expected) in [(1, 0), (84, 1), (85, 1)] {
        let signed = sign(&world, &bucket, proxy.addr(), HOUR * hours).await;
        match signed {
            Ok(ticket) => assert_eq!(ticket.blobs, []),
            Err(error) => assert!(hours > 84 && matches!(error, TicketError::Lifetime), "{hours} h: {error}"),
        }
        assert_eq!(renewals(), expected, "{hours} h");
    }
}

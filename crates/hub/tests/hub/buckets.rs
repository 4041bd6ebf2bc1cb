//! Buckets as hubs: a real Garage, well and ill.

use std::sync::Arc;

use hub::testing::garage::{Bucket, RealGarage};
use hub::testing::{SampleSpec, no_access};
use hub::{Access, HubError, Registry, Selector};

use crate::world::{World, assert_pulled, name, pull, tag};

pub(crate) fn bucket(test: &str) -> Option<Bucket> {
    let garage = RealGarage::shared(&format!("buckets::{test}"))?;
    Some(garage.bucket(&test.replace('_', "-").chars().take(60).collect::<String>()))
}

pub(crate) fn open(bucket: &Bucket, access: &Access) -> Arc<dyn Registry> {
    hub::open(&bucket.location("team/hub"), access).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let Some(garage) = RealGarage::shared("buckets::conforms") else { return };
    let bucket = garage.bucket("conforms");
    for prefix in ["", "below/it"] {
        let hub = hub::open(&bucket.location(prefix), &bucket.access()).unwrap();
        if prefix == "below/it" {
            let report =
                hub::conformance::run(hub, &"conformance".parse().unwrap(), &garage.version()).await.unwrap();
            println!("{report}\nthe real server was {}", garage.version());
            assert!(report.unsupported.is_empty());
            continue;
        }
        let report =
            hub::conformance::run(hub, &"conformance".parse().unwrap(), &garage.version()).await.unwrap();
        println!("{report}\nthe real server was {}", garage.version());
        assert!(report.unsupported.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_back_as_it_went() {
    let Some(bucket) = bucket("a_snapshot_comes_back_as_it_went") else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(open(&bucket, &bucket.access())).await.unwrap();
    pull(&world.target, open(&bucket, &bucket.access()), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}

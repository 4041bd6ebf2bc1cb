//! A pull over the link that users have: 50 Mbit/s and 40 ms there and back.

use std::time::{Duration, Instant};

use hub::Selector;
use hub::testing::SampleSpec;
use hub::testing::proxy::Link;

use crate::transfers::{Far, open};
use crate::world::*;

const LINK: Link = Link { delay: Duration::from_millis(20), rate: Some(6_250_000) };
/// Two blobs of 2 MiB and one of 12, which comes in two parts: under 3 s of the link.
const SPEC: SampleSpec<'static> =
    SampleSpec { seed: "slow link", layers: 2, layer_pages: 512, memory_pages: 3072 };

async fn far(test: &str) -> Option<Far> {
    Far::over(&format!("slow_link::{test}"), &SPEC, LINK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_costs_what_its_plan_says() {
    let Some(far) = far("a_pull_costs_what_its_plan_says").await else { return };
    let start = Instant::now();
    let pull = far.came(async {
        let hub = open(&far.proxy);
        let plan = hub::plan_pull(&far.world.target, hub, &name(), &Selector::Tag(tag())).await.unwrap();
        let planned = plan.transfer.missing_bytes();
        let tag = hub::TagAs { name: full_name(), may_move: true };
        plan.execute(Some(&tag), std::sync::Arc::new(())).await.unwrap();
        planned
    });
    let (came, planned) = pull.await;
    let (took, link) = (start.elapsed(), Duration::from_micros(far.size * 1_000_000 / 6_250_000));
    println!("{came} bytes came for {planned} that were planned, in {took:?}; the link alone takes {link:?}");
    assert_pulled(&far.world);
    assert_eq!(planned, far.size);
    far.assert_once(came);
    assert!(took >= link, "{took:?}: the link was not in the way");
    assert_eq!(far.world.target.fsck(&|_| ()).unwrap().problems.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_is_killed_in_the_middle_costs_the_rest() {
    let Some(far) = far("a_pull_that_is_killed_in_the_middle_costs_the_rest").await else { return };
    far.assert_resumes(5).await;
}

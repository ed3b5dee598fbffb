use std::future::{pending, ready};
use std::time::Duration;

use super::{STOP_WITHIN, Stage, StopTime};

const STAGES: [Stage; 5] = [Stage::Requests, Stage::Buses, Stage::Nodes, Stage::Data, Stage::Sidecars];

#[test]
fn every_stage_has_a_share_and_together_they_end_before_kubernetes_kills() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    let time = StopTime::begin(STOP_WITHIN);
    let ends = STAGES.map(|stage| time.end_of(stage) - time.began);
    for two in ends.windows(2) {
        assert!(two[1] - two[0] >= Duration::from_secs(2), "{ends:?}");
    }
    assert!(ends[0] >= Duration::from_secs(8), "requests have most to do: {ends:?}");
    assert!(ends[4] < Duration::from_secs(25), "{ends:?}");
}

#[tokio::test]
async fn what_hangs_is_cut_and_what_it_leaves_is_there_for_the_next() {
    let within = Duration::from_millis(240);
    let time = StopTime::begin(within);
    assert_eq!(time.give(Stage::Requests, ready(1)).await, Some(1));
    let longer_than_its_share = tokio::time::sleep(within / 24 * 12);
    assert_eq!(time.give(Stage::Buses, longer_than_its_share).await, Some(()));
    for stage in STAGES {
        assert_eq!(time.give(stage, pending::<()>()).await, None);
    }
    assert!(time.began.elapsed() >= within);
}

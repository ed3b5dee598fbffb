//! Killed under load at random moments, again and again: nothing acknowledged is missing, nothing is invented.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::process::{Services, count, seed};

mod record;
mod tenant;

use tenant::Tenant;

const TENANTS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_keeps_what_it_acknowledged() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut tenants: Vec<_> = (0..TENANTS).map(|number| Tenant::new(seed.wrapping_add(number))).collect();
    let mut data = Arc::new(TempDir::new().expect("a directory"));
    for round in 1..=count("ANNALS_KILLS", 5) {
        let moment = Duration::from_micros(random.random_range(1_000..300_000));
        data = under_load_and_killed(&data, &mut tenants, moment).await;
        let services = Services::on(&data);
        check_all(&services, &mut tenants, false).await;
        // It ends as hard as it does under load: opening must not need a clean end.
        data = services.kill();
        let commands: usize = tenants.iter().map(|tenant| tenant.acknowledged).sum();
        println!("kill {round} after {moment:?}: {commands} commands acknowledged so far, all there");
    }
    check_all(&Services::on(&data), &mut tenants, true).await;
}

/// Every tenant works until the service goes away.
async fn under_load_and_killed(
    data: &Arc<TempDir>,
    tenants: &mut Vec<Tenant>,
    moment: Duration,
) -> Arc<TempDir> {
    let services = Services::on(data);
    let mut working = JoinSet::new();
    for mut tenant in tenants.drain(..) {
        let client = services.client();
        working.spawn(async move {
            tenant.work(client).await;
            tenant
        });
    }
    // The moment is what is random here.
    tokio::time::sleep(moment).await;
    let data = services.kill();
    tenants.extend(working.join_all().await);
    data
}

async fn check_all(services: &Services, tenants: &mut [Tenant], from_the_first: bool) {
    join_all(tenants.iter_mut().map(|tenant| tenant.check(services.client(), from_the_first))).await;
}

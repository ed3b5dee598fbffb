//! What an idle `dev` costs. Only a release build says something about it: `ANNALS_IDLE=1 cargo test --release --test api
//! idle`. Most of what a debug build has in memory is its code.

use std::time::{Duration, Instant};

use crate::bodies::created_customer;
use crate::process::Services;

/// How many clock ticks a second has in `/proc`; Linux never had another number there.
const TICKS: f64 = 100.0;

/// The processor time that a process has used so far, in seconds.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // The name may have blanks; what is counted comes after it.
    let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("ticks") + fields[12].parse::<f64>().expect("ticks");
    ticks / TICKS
}

fn resident_megabytes(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<f64>().ok()).expect("a number")
        / 1024.0
}

#[tokio::test]
async fn an_idle_service_uses_next_to_nothing() {
    if std::env::var_os("ANNALS_IDLE").is_none() {
        println!("set ANNALS_IDLE=1 to measure");
        return;
    }
    if cfg!(debug_assertions) {
        panic!("a debug build says nothing about it: cargo test --release");
    }
    let services = Services::start();
    created_customer(&mut services.client(), "1 Elm").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, started) = (processor_time(services.pid()), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let share = (processor_time(services.pid()) - before) / started.elapsed().as_secs_f64();
    let megabytes = resident_megabytes(services.pid());
    println!("idle: {:.2} % of a core, {megabytes:.1} MB resident", share * 100.0);
    assert!(share < 0.01, "{share}");
    assert!(megabytes < 30.0, "{megabytes}");
}

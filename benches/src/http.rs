//! Over HTTP: the reference program beside a route that does the least that a durable answer takes.

mod baseline;
mod load;
mod server;

pub use baseline::serve as serve_baseline;

use crate::baselines::frames::Segment;
use crate::{Failure, Measurement, System, Workshop, alternate};
use load::{Generator, body};
use server::Server;

/// How many connections the clients keep alive.
const CONNECTIONS: usize = 256;
const BASELINE: &str = "axum route + bare log";
const GOAL: f64 = 0.4;
/// The argument that makes a bench the baseline's server.
pub const BASELINE_FLAG: &str = "--baseline-server";

/// Customers posted to the reference program, beside the same posted to a route that only parses them and waits for
/// the bare log. Each server is a process of its own.
///
/// # Errors
/// When a server does not start, or any request fails.
pub fn customers(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let dir = workshop.dir()?;
    let generator = Generator::find();
    println!("load by {generator}");
    let ours = Server::reference(&dir.path().join("reference"))?;
    workshop.runtime.block_on(load::post_one(&ours.url))?;
    // One event is in its journal now: the baseline writes the same bytes.
    let frame = Segment::first(&dir.path().join("reference/customer/journal"))?.first_frame()?;
    let theirs = Server::baseline(&dir.path().join("baseline"), &frame)?;
    let run = |server: &Server, window| {
        generator.load(&workshop.runtime, &server.url, CONNECTIONS, window, dir.path())
    };
    let systems = vec![
        System::new("annals", |window| run(&ours, window)),
        System::new(BASELINE, |window| run(&theirs, window)),
    ];
    let name = format!("customers over HTTP, {CONNECTIONS} connections, {} bytes", body().len());
    let measured = alternate(name, "requests/s", &workshop.plan, systems)?;
    Ok(vec![measured.with_goal(BASELINE, GOAL)])
}

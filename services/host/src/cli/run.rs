//! `dev` and `serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use comfy_table::{Table, presets};
use serde_json::json;
use tokio::sync::watch;

use super::args::{DevArgs, ServeArgs};
use super::connected;
use super::end::End;
use super::error::CliError;
use super::output::Output;
use super::source::chosen;
use crate::stop::StopTime;
use crate::{ADMIN_TOKEN_ENV, Host, HostOptions, Service};

pub(super) async fn dev(
    services: &[Arc<dyn Service>],
    args: DevArgs,
    output: Output,
) -> Result<(), CliError> {
    let stop_within = args.stop.within();
    // Asked for before anything starts, so that no signal is missed.
    let mut end = End::listen(stop_within)?;
    let connected = tokio::select! {
        connected = connected::of_dev(services, &args) => connected?,
        () = end.asked() => {
            tracing::info!("stopped");
            return Ok(());
        }
    };
    let note = match &args.data {
        Some(_) => "Not for production: all services share one process.",
        None => "Not for production: the data is temporary and removed at the end; keep it with --data DIR.",
    };
    let options = HostOptions {
        listen: args.listen,
        data: args.data,
        carrier: connected.carrier,
        admin_token: admin_token(),
        stop_within,
        disk: args.storage.options(),
        ..HostOptions::default()
    };
    let (ended, time) = run(services, options, &mut end, output, note).await;
    // Sidecars outlive the services, whose last events go through them.
    tokio::select! {
        () = connected.sidecars.end(time) => {}
        () = end.asked_again() => {}
    }
    ended.inspect(|()| tracing::info!("stopped"))
}

pub(super) async fn serve(
    services: &[Arc<dyn Service>],
    args: ServeArgs,
    output: Output,
) -> Result<(), CliError> {
    if args.data.as_os_str().is_empty() {
        return Err(CliError::usage("--data (or ANNALS_DATA) names no directory"));
    }
    let services = chosen(services, Some(&args.service))?;
    let carrier = connected::of_service(&args.service, &args.broker)?;
    let stop_within = args.stop.within();
    let options = HostOptions {
        listen: args.listen,
        data: Some(args.data),
        carrier,
        admin_token: admin_token(),
        stop_within,
        disk: args.storage.options(),
        ..HostOptions::default()
    };
    let mut end = End::listen(stop_within)?;
    let (ended, _) = run(&services, options, &mut end, output, "").await;
    ended.inspect(|()| tracing::info!("stopped"))
}

fn admin_token() -> Option<Arc<str>> {
    std::env::var(ADMIN_TOKEN_ENV).ok().filter(|token| !token.is_empty()).map(Arc::from)
}

/// Runs services to their end; answers also with the time that stopping has, which has begun.
async fn run(
    services: &[Arc<dyn Service>],
    options: HostOptions,
    end: &mut End,
    output: Output,
    note: &str,
) -> (Result<(), CliError>, StopTime) {
    let stop_within = options.stop_within;
    tracing::info!(listen = %options.listen, "starting");
    let host = tokio::select! {
        host = Host::start(services, options) => host.map(Some),
        () = end.asked() => Ok(None),
    };
    let host = match host {
        Ok(Some(host)) => host,
        Ok(None) => return (Ok(()), StopTime::begin(stop_within)),
        Err(error) => return (Err(error.into()), StopTime::begin(stop_within)),
    };
    let told = tokio::select! {
        told = announce(&host, output, note) => told,
        () = end.asked() => Ok(()),
    };
    if told.is_ok() {
        end.asked().await;
    }
    let time = StopTime::begin(stop_within);
    (stop(host, time, end).await.and(told), time)
}

/// Stops in order, or at once when that is asked for meanwhile.
async fn stop(host: Host, time: StopTime, end: &mut End) -> Result<(), CliError> {
    tracing::info!("stopping");
    let waiting = tell_of_waiting(host.waited_for());
    tokio::select! {
        ((), ()) = futures_util::future::join(host.shutdown_in(time), waiting) => Ok(()),
        () = end.asked_again() => Err(CliError::Failed {
            code: "stopped_early".to_owned(),
            message: "asked to stop twice: stopped without finishing what was under way".to_owned(),
        }),
    }
}

/// Says what takes the time, if anything does.
async fn tell_of_waiting(mut waited_for: watch::Receiver<usize>) {
    // An error means that the server has ended without waiting.
    if let Ok(requests) = waited_for.wait_for(|requests| *requests > 0).await {
        tracing::info!(
            requests = *requests,
            "waiting for requests under way; a second Ctrl-C or SIGTERM stops now"
        );
    }
}

/// Says where the services are, once they are ready.
async fn announce(host: &Host, output: Output, note: &str) -> Result<(), CliError> {
    host.ready().await?;
    tracing::info!(address = %host.address(), "listening");
    Ok(output.document(&ready_line(host), || table(host, note))?)
}

fn ready_line(host: &Host) -> String {
    let url = format!("http://{}", reachable(host.address()));
    let services: serde_json::Map<_, _> = host
        .services()
        .map(|service| (service.name().to_owned(), json!({ "url": url, "data": host.data() })))
        .collect();
    json!({ "services": services }).to_string()
}

fn table(host: &Host, note: &str) -> String {
    let base = format!("http://{}", reachable(host.address()));
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["SERVICE", "ADDRESS", "WHAT IT IS"]);
    for service in host.services() {
        table.add_row([service.name(), &format!("{base}{}", service.base_path()), service.about()]);
    }
    for (name, path, about) in [
        ("api page", "/docs", "try the routes; the document is at /openapi.json"),
        ("health", "/readyz", "also /livez and /startupz"),
        ("metrics", "/metrics", "Prometheus text"),
    ] {
        table.add_row([name, &format!("{base}{path}"), about]);
    }
    table.add_row(["data", &host.data().display().to_string(), "a directory for each service"]);
    format!("{table}\n{note}\n")
}

/// The address to call; what listens everywhere is called here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        let here =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(here);
    }
    address
}

//! The sidecar that an example is started beside, as by `dapr run`; see `examples/sidecar/bus.yaml` for the component.

use std::error::Error;
use std::sync::Arc;

use annals::bus::Broker;

/// Through the sidecar that Dapr's own variables name: `DAPR_GRPC_PORT`, and `APP_PORT`, where it brings events to.
#[cfg(feature = "dapr")]
pub(crate) fn broker() -> Result<Arc<dyn Broker>, Box<dyn Error>> {
    use annals::bus::dapr::{AppChannel, DaprBroker, DaprOptions, SidecarEndpoint};

    let mut options = DaprOptions::new("bus");
    options.endpoint = SidecarEndpoint::local(port("DAPR_GRPC_PORT")?);
    options.app_channel = AppChannel::Grpc(([127, 0, 0, 1], port("APP_PORT")?).into());
    Ok(Arc::new(DaprBroker::new(options)))
}

#[cfg(feature = "dapr")]
fn port(variable: &str) -> Result<u16, Box<dyn Error>> {
    let text =
        std::env::var(variable).map_err(|_| format!("{variable} is not set: start this with `dapr run`"))?;
    text.parse().map_err(|_| format!("{variable} is \"{text}\", which is no port").into())
}

#[cfg(not(feature = "dapr"))]
pub(crate) fn broker() -> Result<Arc<dyn Broker>, Box<dyn Error>> {
    Err("this was built without Dapr: add `--features dapr`".into())
}

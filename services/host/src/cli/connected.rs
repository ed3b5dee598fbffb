//! What the command line says of brokers.

use std::sync::Arc;

use super::args::{BrokerArgs, BrokerKind, DevArgs};
use super::error::CliError;
use crate::Service;
use crate::broker::Carrier;
#[cfg(not(feature = "dapr"))]
use crate::stop::StopTime;

#[cfg(feature = "dapr")]
pub(super) use with_dapr::Sidecars;

/// Without the feature there are none.
#[cfg(not(feature = "dapr"))]
pub(super) struct Sidecars;

#[cfg(not(feature = "dapr"))]
impl Sidecars {
    fn none() -> Self {
        Self
    }

    /// Ends them.
    #[expect(clippy::unused_async, reason = "as with sidecars")]
    pub(super) async fn end(self, _time: StopTime) {}
}

/// What carries the events of `dev`, and what was started for it.
pub(super) struct Connected {
    pub(super) carrier: Carrier,
    pub(super) sidecars: Sidecars,
}

/// What carries the events of all services on one address.
pub(super) async fn of_dev(services: &[Arc<dyn Service>], args: &DevArgs) -> Result<Connected, CliError> {
    if args.dapr {
        return with_sidecars(services, args).await;
    }
    Ok(Connected { carrier: Carrier::InProcess, sidecars: Sidecars::none() })
}

/// What carries the events of one service.
pub(super) fn of_service(service: &str, args: &BrokerArgs) -> Result<Carrier, CliError> {
    match args.broker {
        BrokerKind::None => Ok(Carrier::None),
        BrokerKind::Dapr => dapr(service, args),
    }
}

#[cfg(feature = "dapr")]
use with_dapr::{dapr, with_sidecars};

#[cfg(not(feature = "dapr"))]
const WITHOUT: &str = "this program was built without Dapr; build it with `--features dapr`";

#[cfg(not(feature = "dapr"))]
fn dapr(_service: &str, _args: &BrokerArgs) -> Result<Carrier, CliError> {
    Err(CliError::usage(WITHOUT))
}

#[cfg(not(feature = "dapr"))]
async fn with_sidecars(_services: &[Arc<dyn Service>], _args: &DevArgs) -> Result<Connected, CliError> {
    Err(CliError::usage(WITHOUT))
}

#[cfg(feature = "dapr")]
mod with_dapr {
    use std::collections::HashMap;
    use std::sync::Arc;

    use annals_bus::dapr::{AppChannel, DaprOptions, HttpEndpoint, Secret, SidecarEndpoint};

    use super::super::args::{BrokerArgs, ChannelKind, DevArgs};
    use super::super::error::CliError;
    pub(in crate::cli) use super::super::sidecars::Sidecars;
    use super::Connected;
    use crate::Service;
    use crate::broker::Carrier;

    /// What the sidecar's own command line and SDKs use for the port.
    const PORT_ENV: &str = "DAPR_GRPC_PORT";

    pub(super) fn dapr(service: &str, args: &BrokerArgs) -> Result<Carrier, CliError> {
        let mut options = DaprOptions::new(args.pubsub.as_str());
        options.endpoint = endpoint(args)?;
        options.app_channel = match args.app_channel {
            ChannelKind::Grpc => AppChannel::Grpc(args.app_listen),
            ChannelKind::Http => AppChannel::Http,
        };
        Ok(Carrier::Dapr(HashMap::from([(service.to_owned(), with_tokens(options))])))
    }

    fn endpoint(args: &BrokerArgs) -> Result<SidecarEndpoint, CliError> {
        if let Some(text) = &args.dapr_endpoint {
            return text.parse().map_err(|error| CliError::usage(format!("--dapr-endpoint: {error}")));
        }
        let Ok(port) = std::env::var(PORT_ENV) else { return Ok(SidecarEndpoint::default()) };
        let port =
            port.parse().map_err(|error| CliError::usage(format!("{PORT_ENV} is \"{port}\": {error}")))?;
        Ok(SidecarEndpoint::local(port))
    }

    fn with_tokens(mut options: DaprOptions) -> DaprOptions {
        options.api_token = Secret::from_env("DAPR_API_TOKEN");
        options.app_token = Secret::from_env("APP_API_TOKEN");
        options
    }

    pub(super) async fn with_sidecars(
        services: &[Arc<dyn Service>],
        args: &DevArgs,
    ) -> Result<Connected, CliError> {
        let names: Vec<_> = services.iter().map(|service| service.name()).collect();
        let sidecars = Sidecars::start(&names, args.dapr_resources.as_deref()).await?;
        let options = sidecars.iter().map(|sidecar| {
            let mut options = DaprOptions::new(args.pubsub.as_str());
            options.endpoint = SidecarEndpoint::local(sidecar.grpc_port());
            options.http_endpoint = Some(HttpEndpoint::local(sidecar.http_port()));
            options.app_channel = AppChannel::Grpc(([127, 0, 0, 1], sidecar.app_port()).into());
            (sidecar.service().to_owned(), with_tokens(options))
        });
        Ok(Connected { carrier: Carrier::Dapr(options.collect()), sidecars })
    }
}

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
    use std::collections::{BTreeSet, HashMap};
    use std::fmt::Display;
    use std::num::NonZeroU16;
    use std::str::FromStr;
    use std::sync::Arc;

    use annals_bus::Topic;
    use annals_bus::dapr::{
        AppChannel, Authorities, DaprOptions, ForeignTopics, HttpEndpoint, Secret, SidecarEndpoint,
    };

    use super::super::args::{
        BrokerArgs, ChannelKind, ComponentArgs, DevArgs, SubscriptionsKind, TopicPubsub,
    };
    use super::super::error::CliError;
    pub(in crate::cli) use super::super::sidecars::Sidecars;
    use super::Connected;
    use crate::Service;
    use crate::broker::Carrier;

    /// What a sidecar's injector and Dapr's own SDKs use for the ports.
    const GRPC_PORT_ENV: &str = "DAPR_GRPC_PORT";
    const HTTP_PORT_ENV: &str = "DAPR_HTTP_PORT";

    pub(super) fn dapr(service: &str, args: &BrokerArgs) -> Result<Carrier, CliError> {
        let mut options = carried_by(&args.components)?;
        if args.components.are_shared {
            options.foreign_topics = ForeignTopics::Warn;
        }
        options.endpoint = grpc_endpoint(args)?;
        options.http_endpoint = http_endpoint(args)?;
        options.ca = authorities(args, &options.endpoint)?;
        options.programmatic = args.subscriptions == SubscriptionsKind::Programmatic;
        options.app_channel = match args.app_channel {
            ChannelKind::Grpc => AppChannel::Grpc(args.app_listen),
            ChannelKind::Http => AppChannel::Http,
        };
        tell(&options);
        Ok(Carrier::Dapr(HashMap::from([(service.to_owned(), with_tokens(options))])))
    }

    /// For the components that carry the events.
    fn carried_by(args: &ComponentArgs) -> Result<DaprOptions, CliError> {
        let mut options = DaprOptions::new(args.pubsub.as_str());
        for TopicPubsub { topic, pubsub } in &args.topic_pubsub {
            let before = options.topic_pubsubs.insert(Topic::named(topic.as_str()), pubsub.as_str().into());
            if before.is_some_and(|before| *before != **pubsub) {
                return Err(CliError::usage(format!(
                    "--topic-pubsub (or ANNALS_TOPIC_PUBSUB) names two components for \"{topic}\"; give one"
                )));
            }
        }
        Ok(options)
    }

    /// Flags, variables and defaults have a part in it: this is what came of them.
    fn tell(options: &DaprOptions) {
        let http_api =
            options.http_endpoint.as_ref().map_or_else(|| "not asked".to_owned(), ToString::to_string);
        let DaprOptions { endpoint, pubsub, topic_pubsubs, programmatic, app_channel, .. } = options;
        tracing::info!(grpc_api = %endpoint, http_api, %pubsub, ?topic_pubsubs, programmatic, ?app_channel, "events go through a sidecar");
    }

    fn grpc_endpoint(args: &BrokerArgs) -> Result<SidecarEndpoint, CliError> {
        let given = parsed("--dapr-endpoint (or DAPR_GRPC_ENDPOINT)", args.dapr_endpoint.as_deref())?;
        Ok(match given {
            Some(endpoint) => endpoint,
            None => port(GRPC_PORT_ENV)?.map_or_else(SidecarEndpoint::default, SidecarEndpoint::local),
        })
    }

    fn http_endpoint(args: &BrokerArgs) -> Result<Option<HttpEndpoint>, CliError> {
        let given =
            parsed("--dapr-http-endpoint (or DAPR_HTTP_ENDPOINT)", args.dapr_http_endpoint.as_deref())?;
        Ok(match given {
            Some(endpoint) => Some(endpoint),
            None => port(HTTP_PORT_ENV)?.map(HttpEndpoint::local),
        })
    }

    /// What was said, where anything was: a variable that is set to nothing says nothing.
    fn parsed<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, CliError> {
        let text = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
        text.map_err(|error| CliError::usage(format!("{name}: {error}")))
    }

    fn port(name: &str) -> Result<Option<u16>, CliError> {
        let text = std::env::var(name).unwrap_or_default();
        let port: Option<NonZeroU16> = parsed(name, Some(&text)).map_err(|_| {
            CliError::usage(format!("{name} is \"{text}\", which is no port; give a number from 1 to 65535"))
        })?;
        Ok(port.map(NonZeroU16::get))
    }

    fn authorities(args: &BrokerArgs, endpoint: &SidecarEndpoint) -> Result<Option<Authorities>, CliError> {
        let Some(file) = args.dapr_ca.as_deref().filter(|file| !file.as_os_str().is_empty()) else {
            return Ok(None);
        };
        if !endpoint.has_tls() {
            return Err(CliError::usage(format!(
                "--dapr-ca (or ANNALS_DAPR_CA): there is no TLS to {endpoint}; give --dapr-endpoint https://..."
            )));
        }
        let authorities = Authorities::from_file(file);
        authorities.map(Some).map_err(|error| CliError::failed(error.code(), &error))
    }

    /// Whether a topic may be a service's: one that does not say what it publishes, or what it handles, may have it.
    fn may_concern(services: &[Arc<dyn Service>], name: &str, topic: &Topic) -> bool {
        let Some(service) = services.iter().find(|service| service.name() == name) else { return true };
        let said = [service.publications(), service.subscriptions()];
        said.iter().any(|topics| topics.is_empty() || topics.iter().any(|one| one.topic == topic.as_str()))
    }

    /// What is named for no topic of any of the services was meant for one of them.
    fn check_topics(services: &[Arc<dyn Service>], options: &DaprOptions) -> Result<(), CliError> {
        let said = services.iter().map(|one| [one.publications(), one.subscriptions()].concat());
        let said: Vec<_> = said.map(|topics| topics.into_iter().map(|one| one.topic)).collect();
        if said.iter().any(|topics| topics.len() == 0) {
            // One that says nothing of itself may have any.
            return Ok(());
        }
        let topics: BTreeSet<_> = said.into_iter().flatten().collect();
        let nobodys = |topic: &&Topic| !topics.contains(topic.as_str());
        let Some(topic) = options.topic_pubsubs.keys().find(nobodys) else { return Ok(()) };
        let topics = topics.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(CliError::usage(format!(
            "--topic-pubsub (or ANNALS_TOPIC_PUBSUB) names a component for \"{topic}\", which no service publishes or handles; \
             their topics are: {topics}"
        )))
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
        let mut carried = carried_by(&args.components)?;
        carried.foreign_topics = ForeignTopics::Warn;
        check_topics(services, &carried)?;
        let names: Vec<_> = services.iter().map(|service| service.name()).collect();
        let sidecars = Sidecars::start(&names, args.dapr_resources.as_deref()).await?;
        let options = sidecars.iter().map(|sidecar| {
            let mut options = carried.clone();
            options.topic_pubsubs.retain(|topic, _| may_concern(services, sidecar.service(), topic));
            options.endpoint = SidecarEndpoint::local(sidecar.grpc_port());
            options.http_endpoint = Some(HttpEndpoint::local(sidecar.http_port()));
            options.app_channel = AppChannel::Grpc(([127, 0, 0, 1], sidecar.app_port()).into());
            (sidecar.service().to_owned(), with_tokens(options))
        });
        Ok(Connected { carrier: Carrier::Dapr(options.collect()), sidecars })
    }
}

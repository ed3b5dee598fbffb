use super::*;

fn carrier(channels: &[(&str, AppChannel)]) -> Carrier {
    let options = |channel: &AppChannel| {
        let mut options = DaprOptions::new("bus");
        options.app_channel = *channel;
        options
    };
    Carrier::Dapr(channels.iter().map(|(name, channel)| ((*name).to_owned(), options(channel))).collect())
}

#[test]
fn one_service_of_a_host_gets_its_events_over_http() {
    let grpc = AppChannel::Grpc("127.0.0.1:0".parse().unwrap());
    assert!(Brokers::of(&carrier(&[("order", AppChannel::Http), ("customer", grpc)])).is_ok());
    let both = carrier(&[("order", AppChannel::Http), ("customer", AppChannel::Http)]);
    assert_eq!(Brokers::of(&both).err().unwrap(), ["customer", "order"]);
}

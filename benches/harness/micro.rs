//! The steps of the work one by one: what a change to one of them costs or saves.

use std::hint::black_box;

use annals::persistence::{CodecId, Event as _, Shape, fingerprint};
use annals::prelude::Aggregate;
use annals_benches::workload::{Order, OrderEvent, command, event};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const EVENTS: u64 = 1_000;

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for codec in [CodecId::Json, CodecId::Bincode] {
        let event = event();
        let (name, version) = (event.event_type().name, event.event_type().version);
        let bytes = event.encode_as(codec).unwrap_or_default();
        assert!(
            OrderEvent::decode(name, version, codec, &bytes).is_ok(),
            "{codec:?} decodes what it encoded"
        );
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("encode {codec:?}"), |b| b.iter(|| black_box(&event).encode_as(codec)));
        group.bench_function(format!("decode {codec:?}"), |b| {
            b.iter(|| OrderEvent::decode(name, version, codec, black_box(&bytes)));
        });
    }
    group.bench_function("encode command", |b| b.iter(|| CodecId::Json.encode(black_box(&command()))));
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    let payload = event().encode().unwrap_or_default();
    assert!(
        OrderEvent::decode("order-item-added", 1, CodecId::Json, &payload).is_ok(),
        "there is what to apply"
    );
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("decode + apply", |b| {
        b.iter(|| {
            let mut order = Order::default();
            for _ in 0..EVENTS {
                if let Ok(events) =
                    OrderEvent::decode("order-item-added", 1, CodecId::Json, black_box(&payload))
                {
                    events.into_iter().for_each(|event| order.apply(event));
                }
            }
            order
        });
    });
    group.finish();
}

fn shapes(criterion: &mut Criterion) {
    fn of<T: Shape>() -> u64 {
        fingerprint::<T>()
    }
    criterion.bench_function("fingerprint", |b| b.iter(of::<Order>));
}

criterion_group!(benches, codecs, replay, shapes);
criterion_main!(benches);

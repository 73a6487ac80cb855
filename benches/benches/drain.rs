//! Nanoseconds for each batch of every way to call, by criterion. Ratios are what counts: see the `ratios` target.
//!
//! `cargo bench -p fing-benches --bench drain [-- FILTER]`, a filter such as `touching/pointer`.
#![forbid(unsafe_code)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fing_benches::callees::{Argument, Callee};
use fing_benches::calls::{Calls, RECORDS, Way};

fn drain(criterion: &mut Criterion) {
    for callee in Callee::ALL {
        for argument in Argument::ALL {
            let mut group =
                criterion.benchmark_group(format!("{}/{}", callee.name(), argument.name()));
            group.throughput(Throughput::Elements(RECORDS as u64));
            for way in Way::all() {
                group.bench_function(way.to_string(), |bencher| {
                    match Calls::new(way, callee, argument) {
                        Ok(calls) => bencher.iter(|| calls.run()),
                        Err(error) => panic!("{way}: {error}"),
                    }
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300));
    targets = drain
}
criterion_main!(benches);

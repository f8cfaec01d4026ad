//! Percentiles and the lines they are printed in.

use std::time::Duration;

/// Prints median, p99 and maximum of these times beside the aim.
pub(crate) fn print(what: &str, mut times: Vec<Duration>, aim: &str) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{what:<58} p50 {:>8.3} ms   p99 {:>8.3} ms   max {:>8.3} ms   n {:>5}   aim {aim}",
        at(50),
        at(99),
        at(100),
        times.len()
    );
}

/// Prints one number beside the aim.
pub(crate) fn print_one(what: &str, value: f64, unit: &str, aim: &str) {
    println!("{what:<58} {value:>12.2} {unit:<12} aim {aim}");
}

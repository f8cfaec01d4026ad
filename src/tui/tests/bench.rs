//! How long a frame takes; printed, not judged.

use super::{dark, drawn, fixtures};
use std::time::Instant;

#[test]
fn a_frame_with_ten_thousand_batches_is_drawn() {
    let model = dark(fixtures::huge(), (200, 60));
    let mut times: Vec<_> = (0..40)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(drawn(&model));
            began.elapsed()
        })
        .collect();
    times.sort();
    println!("frame at 200x60 with 10,000 batches: median {:?}, worst {:?}", times[20], times[39]);
}

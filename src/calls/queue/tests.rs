//! The queue returns what was added, last in first out, packed or not. (Not a child of the queue's
//! module, which is compiled a second time under a model checker.)
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use fing_stubs::Record;
use fing_stubs::fuzzing::Rng;

use crate::calls::queue::{
    BLOCK_RECORDS, CallId, CallStage, DrainOrder, Queue, References, Tag, Taken, WORTH_PACKING,
};

/// A record of a shape, in each form that records have, and its number.
fn record(shape: u32, number: u64) -> (Record, Tag) {
    let form = shape % 5;
    let (context, words, references) = match form {
        0 => (0, [number, 0], Tag::WORD_0),
        1 => (0x77, [0x1000, number], Tag::WORD_1 | Tag::CONTEXT),
        2 => (0, [number, number + 1], Tag::WORD_0 | Tag::WORD_1),
        3 => (0, [number, 5], 0),
        _ => (number as usize % 2, [number, 0], Tag::WORD_0 | Tag::CONTEXT),
    };
    let record = Record {
        code: 0x4000 + shape as usize,
        context,
        words,
    };
    (record, Tag::new(shape, references))
}

/// Everything that is due, in the order in which it would run.
fn drained(queue: &Queue) -> Vec<(Record, Tag)> {
    let mut all = Vec::new();
    let turn = queue.turn();
    while let Taken::Drain { .. } = queue.take(&turn, false) {
        while let Some((block, _)) = queue.next_block(&turn, BLOCK_RECORDS, |_| ()) {
            let uniform = block.tags().iter().all(|tag| *tag == block.tags()[0]);
            assert!(uniform || !block.is_uniform());
            all.extend(block.entries().map(|(slot, tag)| (slot.record(), tag)));
            let reached = block.slots().len();
            queue.finish_block(&turn, block, reached);
        }
    }
    all
}

/// Runs of random length of random shapes.
fn runs(rng: &mut Rng) -> Vec<(Record, Tag)> {
    let longest = *rng.pick(&[1, 3, 40, 700]);
    let shapes = 1 + rng.below(9);
    let mut all = Vec::new();
    for _ in 0..rng.below(40) {
        let shape = rng.below(shapes) as u32;
        let from = all.len() as u64;
        let many = 1 + rng.below(longest) as u64;
        all.extend((from..from + many).map(|number| record(shape, number)));
    }
    all
}

/// The words that are references, sorted, as a collector sees them.
fn references(queue: &Queue) -> Vec<u64> {
    let mut words = Vec::new();
    queue.visit_references(&mut |word| words.push(word));
    words.sort_unstable();
    words.dedup();
    words
}

fn wanted_references(records: &[(Record, Tag)]) -> Vec<u64> {
    let mut words = Vec::new();
    for (record, tag) in records {
        let [first, second] = record.words;
        let all = [
            (Tag::WORD_0, first),
            (Tag::WORD_1, second),
            (Tag::CONTEXT, record.context as u64),
        ];
        words.extend(all.iter().filter(|(bit, _)| tag.has(*bit)).map(|of| of.1));
    }
    words.sort_unstable();
    words.dedup();
    words
}

#[test]
fn last_in_is_first_out_and_every_reference_is_shown() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let queue = Queue::new(9, DrainOrder::Lifo, 0);
        for _ in 0..3 {
            let mut records = runs(&mut rng);
            queue.push(records.iter().copied());
            assert_eq!(
                references(&queue),
                wanted_references(&records),
                "seed {seed}"
            );
            records.reverse();
            assert!(drained(&queue) == records, "seed {seed}");
        }
    }
}

#[test]
fn a_collector_moves_what_waits() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let queue = Queue::new(9, DrainOrder::Lifo, 0);
        let mut records = runs(&mut rng);
        let half = records.len() / 2;
        queue.push(records[..half].iter().copied());
        let parts: &[References] = match seed % 2 {
            0 => &[References::All],
            _ => &[References::Held, References::Objects],
        };
        for &of in parts {
            queue.trace(of, &mut |word| word + 0x10_0000);
        }
        queue.push(records[half..].iter().copied());
        for (record, tag) in &mut records[..half] {
            let moved = |bit| if tag.has(bit) { 0x10_0000 } else { 0 };
            record.words[0] += moved(Tag::WORD_0);
            record.words[1] += moved(Tag::WORD_1);
            record.context += moved(Tag::CONTEXT) as usize;
        }
        records.reverse();
        assert!(drained(&queue) == records, "seed {seed}");
    }
}

/// A call is found by the address that its object has now: after a look at all references, and
/// after a collector that has panicked between two objects that it moved.
#[test]
fn calls_are_cancelled_by_where_their_objects_are() {
    let queue = Queue::new(9, DrainOrder::Lifo, 0);
    queue.push((1..=100).map(|number| record(0, number)));
    let cancel = |address| queue.cancel(CallId::Finalizer(address), |_| true);
    // More than are looked for one by one.
    for address in 1..=30 {
        assert_eq!(cancel(address), CallStage::Queued);
    }
    assert_eq!(references(&queue), (31..=100).collect::<Vec<u64>>());
    assert_eq!([30, 31].map(cancel), [CallStage::Done, CallStage::Queued]);
    let mut moved = Vec::new();
    let collection = catch_unwind(AssertUnwindSafe(|| {
        queue.trace(References::All, &mut |word| {
            assert!(moved.len() < 10, "the collector's");
            moved.push(word);
            word + 1000
        });
    }));
    assert!(collection.is_err());
    for address in 32..=100 {
        let (there, gone) = match moved.contains(&address) {
            true => (address + 1000, address),
            false => (address, address + 1000),
        };
        let found = [gone, there].map(cancel);
        assert_eq!(found, [CallStage::Done, CallStage::Queued], "{address}");
    }
    assert!(drained(&queue).is_empty());
}

#[test]
fn functions_stay_together_when_they_are_to() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let queue = Queue::new(9, DrainOrder::Grouped, 0);
        let records = runs(&mut rng);
        queue.push(records.iter().copied());
        let found = drained(&queue);
        let of = |all: &[(Record, Tag)], shape| -> Vec<Record> {
            let of_shape = all.iter().filter(|(_, tag)| tag.shape() == shape);
            of_shape.map(|(record, _)| *record).collect()
        };
        for shape in 0..9 {
            let mut wanted = of(&records, shape);
            wanted.reverse();
            assert!(of(&found, shape) == wanted, "seed {seed}, shape {shape}");
        }
        assert_eq!(found.len(), records.len());
    }
}

/// Whatever the order, waiting takes at most as much memory as 36 bytes a record, but for the last
/// block.
#[test]
fn waiting_takes_little_memory_in_any_order() {
    for run in [1, 2, WORTH_PACKING - 1, WORTH_PACKING, BLOCK_RECORDS] {
        let queue = Queue::new(9, DrainOrder::Lifo, 0);
        let shape = |number: usize| (number / run % 2) as u32 * 5;
        queue.push((0..100_000).map(|number| record(shape(number), number as u64)));
        let total = queue.counts().bytes;
        let limit = if run == BLOCK_RECORDS { 9 } else { 37 };
        assert!(total <= limit * 100_000, "runs of {run}: {total} bytes");
    }
}

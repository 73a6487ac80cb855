//! Compares the index with a map, and measures how full its lines get.
use super::*;
use std::collections::HashMap;

const KINDS: [Kind; 2] = [Kind::Weak, Kind::Finalizer];

fn plain((kind, object): Key) -> (u8, u64) {
    (kind as u8, object)
}

/// Entries by number, as the table has them.
#[derive(Default)]
struct Keys(Vec<Option<Key>>);

impl Keys {
    fn all(&self) -> impl Iterator<Item = (u32, Key)> {
        (0..)
            .zip(&self.0)
            .filter_map(|(at, key)| Some((at, (*key)?)))
    }
}

fn add(index: &mut Index, keys: &Keys, key: Key, entry: u32) {
    if !index.has_room(key.1, keys.0.len()) {
        index.make_room(key.1, keys.0.len(), keys.all());
    }
    let found = index.seek(key, |at| keys.0[at as usize] == Some(key));
    index.fill(found.unwrap_err().unwrap(), entry);
}

#[test]
fn agrees_with_a_map() {
    let (mut index, mut keys) = (Index::new(), Keys(vec![None; 1 << 10]));
    let mut map: HashMap<(u8, u64), u32> = HashMap::new();
    let mut state = 1_u64;
    for step in 0..40_000_u64 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(step);
        let n = (state >> 33) as u32 & 0x3ff;
        // Far apart at first, then neighbours.
        let of = |n: u32| {
            let object = u64::from(n / 2) << if step < 20_000 { 12 } else { 0 };
            (KINDS[n as usize % 2], object)
        };
        if step == 20_000 {
            map.clear();
            keys.0.fill(None);
            index.fill_with(std::iter::empty());
        }
        let key = of(n);
        if map.remove(&plain(key)).is_some() {
            index.remove(key, n);
            index.remove(key, n);
            keys.0[n as usize] = None;
        } else {
            add(&mut index, &keys, key, n);
            keys.0[n as usize] = Some(key);
            map.insert(plain(key), n);
        }
        let probe = of((state >> 20) as u32 & 0x3ff);
        let found = index.locate(probe, |at| keys.0[at as usize] == Some(probe));
        let found = found.map(|place| place.entry);
        assert_eq!(found, map.get(&plain(probe)).copied());
        assert_eq!(index.used, map.len());
    }
    assert!(index.lines.len() * CELLS <= 2048);
}

/// Lines looked at for each object that is not in.
fn length(index: &Index, objects: &[u64]) -> f64 {
    let lines = |object: u64| {
        let (mut at, _) = index.place((Kind::Finalizer, object));
        let mut count = 1;
        while !index.lines[at].has_room() {
            at = index.after(at);
            count += 1;
        }
        count
    };
    let all: u32 = objects.iter().map(|object| lines(*object)).sum();
    f64::from(all) / objects.len() as f64
}

/// However the objects lie, few lines are looked at, and the memory is as promised, at every size.
#[test]
fn lines_have_room_wherever_objects_are() {
    const MANY: u64 = 30_000;
    let scatter = |n: u64| {
        let mixed = (n + 1).wrapping_mul(0xd134_2543_de82_ef95);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17 << 4
    };
    let patterns: [(&str, &dyn Fn(u64) -> u64); 8] = [
        ("numbers", &|n| n),
        ("16 bytes", &|n| 0x7f00_0000_0000 + 16 * n),
        ("32 bytes, headers", &|n| 0x7f00_0000_0010 + 32 * n),
        ("48 bytes", &|n| 0x5500_0000_0000 + 48 * n),
        ("pages", &|n| 0x7f00_0000_0000 + 4096 * n),
        ("one of 100", &|n| 0x7f00_0000_0000 + 3200 * n),
        ("scattered", &scatter),
        ("blocks", &|n| (scatter(n / 512) << 16) + n % 512 * 48),
    ];
    for (name, object) in patterns {
        let (mut index, mut keys) = (Index::new(), Keys::default());
        let (mut objects, mut worst) = (Vec::new(), 0.0_f64);
        for n in 0..MANY {
            let key = (Kind::Finalizer, object(n));
            let lines = index.lines.len();
            // What is about to grow is as full as it gets.
            if index.room == 0 && n > 1000 {
                worst = worst.max(length(&index, &objects));
            }
            add(&mut index, &keys, key, n as u32);
            keys.0.push(Some(key));
            objects.push(key.1);
            let bytes = index.lines.len() * 64;
            let grown = n > 1000 && index.lines.len() > lines;
            assert!(
                !grown || bytes as f64 <= 6.67 * (n + 1) as f64 + 128.0,
                "{name}: {bytes} for {n}"
            );
        }
        println!("{name}: {worst:.2} lines at most");
        assert!(worst < 4.0, "{name}: {worst} lines");
    }
}

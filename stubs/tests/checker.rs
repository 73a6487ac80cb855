//! The checker accepts what is right and nothing else.

use std::collections::HashMap;

use fing_stubs::abi::{Abi, Arch, Convention, RegClass};
use fing_stubs::assign::{Assignment, Place, assign};
use fing_stubs::check::{Rule, check};
use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::signature::{Signature, Type};

/// Random signatures for each machine; `FING_CASES` overrides.
fn cases() -> u64 {
    fing_oracles::cases(10_000)
}

fn accept(sig: &Signature, abi: Abi) -> Assignment {
    let a = assign(sig, abi).unwrap_or_else(|error| panic!("{sig} {abi}: {error}"));
    check(sig, &a).unwrap_or_else(|error| panic!("{sig} {abi}: {error}\n{a}"));
    a
}

#[test]
fn accepts_every_vector_on_every_machine() {
    let path = format!("{}/tests/vectors/public.jsonl", env!("CARGO_MANIFEST_DIR"));
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let sig: Signature = line["sig"].as_str().unwrap().parse().unwrap();
        for arch in Arch::GO {
            accept(&sig, Abi::go(arch));
            for ints in 0..=Abi::go(arch).int_regs() {
                accept(&sig, Abi::go(arch).with_int_arg_regs(ints).unwrap());
            }
        }
    }
}

#[test]
fn accepts_random_signatures_on_every_machine() {
    for arch in Arch::GO {
        let mut rng = Rng::new(1 + arch as u64);
        for _ in 0..cases() {
            let sig = fuzzing::random_signature(&mut rng);
            accept(&sig, fuzzing::random_go_abi(&mut rng, arch));
        }
    }
}

#[test]
fn accepts_random_native_signatures() {
    let mut rng = Rng::new(11);
    let mut hidden = 0;
    for _ in 0..cases() {
        let sig = fuzzing::native_signature(&mut rng);
        hidden += u64::from(accept(&sig, Abi::system_v()).hidden_result.is_some());
        for convention in Convention::ALL {
            accept(&sig, Abi::native(convention));
        }
    }
    assert!(hidden > cases() / 10 && hidden < cases() / 2, "{hidden}");
}

type Mutation = fn(&mut Assignment, &mut Rng) -> Option<()>;

/// Pieces of a random value in registers, and its spill slot.
type Pieces<'a> = (&'a mut Vec<fing_stubs::assign::Piece>, &'a mut Option<u64>);

fn places(a: &mut Assignment) -> Vec<&mut Place> {
    a.args
        .iter_mut()
        .chain(&mut a.results)
        .map(|value| &mut value.place)
        .collect()
}

fn some_registers<'a>(a: &'a mut Assignment, rng: &mut Rng) -> Option<Pieces<'a>> {
    let mut list: Vec<Pieces<'a>> = places(a)
        .into_iter()
        .filter_map(|place| match place {
            Place::Regs { pieces, spill } => Some((pieces, spill)),
            _ => None,
        })
        .collect();
    (!list.is_empty()).then(|| list.swap_remove(rng.below(list.len())))
}

/// Spill slot of a random argument in registers.
fn some_spill<'a>(a: &'a mut Assignment, rng: &mut Rng) -> Option<&'a mut Option<u64>> {
    let mut list: Vec<&mut Option<u64>> = Vec::new();
    for value in &mut a.args {
        if let Place::Regs { spill, .. } = &mut value.place {
            list.push(spill);
        }
    }
    (!list.is_empty()).then(|| list.swap_remove(rng.below(list.len())))
}

fn some_offset<'a>(a: &'a mut Assignment, rng: &mut Rng) -> Option<&'a mut u64> {
    let mut list: Vec<&mut u64> = places(a)
        .into_iter()
        .filter_map(|place| match place {
            Place::Stack { offset } | Place::Hidden { offset } => Some(offset),
            Place::Split { offset, .. } | Place::Reference { copy: offset, .. } => Some(offset),
            _ => None,
        })
        .collect();
    (!list.is_empty()).then(|| list.swap_remove(rng.below(list.len())))
}

/// Each way to spoil an assignment; `None` when this one can't be spoiled so.
const MUTATIONS: &[(&str, Mutation)] = &[
    ("next register", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        let k = rng.below(pieces.len());
        pieces[k].index += 1;
        Some(())
    }),
    ("two pieces swap registers", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        let [first, .., last] = &mut pieces[..] else {
            return None;
        };
        (first.class == last.class).then(|| std::mem::swap(&mut first.index, &mut last.index))
    }),
    ("other class", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        let k = rng.below(pieces.len());
        pieces[k].class = if pieces[k].class == RegClass::Int {
            RegClass::Float
        } else {
            RegClass::Int
        };
        Some(())
    }),
    ("elsewhere in the register", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        let k = rng.below(pieces.len());
        pieces[k].reg_off ^= 4;
        Some(())
    }),
    ("other bytes", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        let k = rng.below(pieces.len());
        pieces[k].off += 8;
        Some(())
    }),
    ("half the bytes", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        let k = rng.below(pieces.len());
        pieces[k].size = pieces[k].size / 2 + 8 * u64::from(pieces[k].size == 1);
        Some(())
    }),
    ("other kind of piece", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        let k = rng.below(pieces.len());
        pieces[k].kind = Type::pointer_to(pieces[k].kind.clone()).ok()?;
        Some(())
    }),
    ("value split: last piece is missing", |a, rng| {
        some_registers(a, rng)?.0.pop().map(drop)
    }),
    ("value split: last piece twice", |a, rng| {
        let (pieces, _) = some_registers(a, rng)?;
        pieces.push(pieces.last()?.clone());
        Some(())
    }),
    ("stack although it fits", |a, rng| {
        let end = a.frame_size;
        let mut list: Vec<&mut Place> = places(a)
            .into_iter()
            .filter(|p| matches!(p, Place::Regs { .. }))
            .collect();
        let k = rng.below(list.len());
        **list.get_mut(k)? = Place::Stack { offset: end };
        a.frame_size += 1 << 20;
        Some(())
    }),
    ("registers although it doesn't fit", |a, rng| {
        let spill = a.abi.native_table().is_none().then_some(a.spill_off);
        let values: Vec<_> = a
            .args
            .iter_mut()
            .filter(|v| matches!(v.place, Place::Stack { .. }))
            .collect();
        let k = rng.below(values.len());
        let value = values.into_iter().nth(k)?;
        let pieces = fing_stubs::assign::pieces(&value.ty);
        value.place = Place::Regs {
            pieces,
            spill: spill.filter(|_| value.size > 0),
        };
        Some(())
    }),
    ("spill slot is missing", |a, rng| {
        some_spill(a, rng)?.take().map(drop)
    }),
    ("spill slot of a result", |a, rng| {
        let k = rng.below(a.results.len());
        let Place::Regs { spill, .. } = &mut a.results.get_mut(k)?.place else {
            return None;
        };
        *spill = Some(a.frame_size);
        a.frame_size += 1 << 20;
        Some(())
    }),
    ("spill slot moved by a byte", |a, rng| {
        let spill = some_spill(a, rng)?.as_mut()?;
        *spill += 1;
        Some(())
    }),
    ("spill slot moved by its alignment", |a, rng| {
        let spill = some_spill(a, rng)?.as_mut()?;
        *spill += 8;
        a.frame_size += 8;
        a.spill_size += 8;
        Some(())
    }),
    ("spill slot before the spill area", |a, rng| {
        let spill = some_spill(a, rng)?.as_mut()?;
        *spill = spill.checked_sub(8)?;
        Some(())
    }),
    ("stack offset off by one", |a, rng| {
        some_offset(a, rng).map(|offset| *offset += 1)
    }),
    ("stack offset off by a word", |a, rng| {
        *some_offset(a, rng)? += 8;
        a.frame_size += 64;
        Some(())
    }),
    ("stack offset at the end of the address space", |a, rng| {
        some_offset(a, rng).map(|offset| *offset = u64::MAX - 7)
    }),
    ("stack values overlap", |a, _| {
        let mut stack = a
            .args
            .iter_mut()
            .filter_map(|value| match &mut value.place {
                Place::Stack { offset } if value.size > 0 => Some(offset),
                _ => None,
            });
        let first = *stack.next()?;
        *stack.next()? = first;
        Some(())
    }),
    ("arguments swap places", |a, rng| {
        let k = rng.below(a.args.len().checked_sub(1)?);
        let (left, right) = a.args.split_at_mut(k + 1);
        std::mem::swap(&mut left[k].place, &mut right.first_mut()?.place);
        Some(())
    }),
    ("results swap places", |a, rng| {
        let k = rng.below(a.results.len().checked_sub(1)?);
        let (left, right) = a.results.split_at_mut(k + 1);
        std::mem::swap(&mut left[k].place, &mut right.first_mut()?.place);
        Some(())
    }),
    ("results swapped", |a, rng| {
        let k = rng.below(a.results.len().checked_sub(1)?);
        (k + 1 < a.results.len()).then(|| a.results.swap(k, k + 1))
    }),
    ("argument is missing", |a, _| a.args.pop().map(drop)),
    ("result twice", |a, _| {
        let last = a.results.last()?.clone();
        a.results.push(last);
        Some(())
    }),
    ("other type", |a, rng| {
        let k = rng.below(a.args.len());
        let value = a.args.get_mut(k)?;
        value.ty = Type::pointer_to(value.ty.clone()).ok()?;
        Some(())
    }),
    ("other size", |a, rng| {
        let k = rng.below(a.args.len());
        a.args.get_mut(k).map(|value| value.size += 1)
    }),
    ("other alignment", |a, rng| {
        let k = rng.below(a.args.len());
        a.args.get_mut(k).map(|value| value.align *= 2)
    }),
    ("arguments end elsewhere", |a, _| {
        a.args_end += 1;
        Some(())
    }),
    ("results begin elsewhere", |a, _| {
        a.results_off += 8;
        Some(())
    }),
    ("results end elsewhere", |a, _| {
        a.results_end += 1;
        Some(())
    }),
    ("spill area begins elsewhere", |a, _| {
        a.spill_off += 8;
        Some(())
    }),
    ("spill area is larger", |a, _| {
        a.spill_size += 8;
        Some(())
    }),
    ("frame too small", |a, _| {
        a.frame_size = a.frame_size.checked_sub(8)?;
        Some(())
    }),
    ("frame too large", |a, _| {
        a.frame_size += 16;
        Some(())
    }),
    ("spill area overflows", |a, _| {
        (a.spill_off, a.spill_size) = (u64::MAX - 7, u64::MAX - 7);
        Some(())
    }),
    ("integer registers in", |a, _| {
        a.int_in += 1;
        Some(())
    }),
    ("float registers in", |a, _| {
        a.float_in += 1;
        Some(())
    }),
    ("integer registers out", |a, _| {
        a.int_out += 1;
        Some(())
    }),
    ("float registers out", |a, _| {
        a.float_out = a.float_out.wrapping_sub(1);
        Some(())
    }),
    ("hidden result", |a, _| {
        a.hidden_result = if a.hidden_result.is_some() {
            None
        } else {
            Some(24)
        };
        Some(())
    }),
    ("hidden result of another size", |a, _| {
        a.hidden_result.as_mut().map(|size| *size += 8)
    }),
    ("value behind the hidden pointer", |a, rng| {
        let mut list: Vec<&mut Place> = places(a)
            .into_iter()
            .filter(|p| !matches!(p, Place::Hidden { .. }))
            .collect();
        let k = rng.below(list.len());
        **list.get_mut(k)? = Place::Hidden { offset: 0 };
        Some(())
    }),
];

/// Spoils assignments of random signatures and counts, per mutation, how often that could be done.
fn spoil(seed: u64, make: impl Fn(&mut Rng) -> (Signature, Abi)) -> HashMap<&'static str, u32> {
    let mut rng = Rng::new(seed);
    let mut done = HashMap::new();
    for _ in 0..1000 {
        let (sig, abi) = make(&mut rng);
        let right = accept(&sig, abi);
        for (name, mutate) in MUTATIONS {
            let mut a = right.clone();
            if mutate(&mut a, &mut rng).is_some() && a != right {
                assert!(
                    check(&sig, &a).is_err(),
                    "{name} goes unnoticed: {sig} {abi}\n{right}\n{a:?}"
                );
                *done.entry(*name).or_insert(0) += 1;
            }
        }
    }
    done
}

#[test]
fn rejects_every_kind_of_spoilt_go_assignment() {
    let done = spoil(5, |rng| {
        let sig = fuzzing::random_signature(rng);
        let arch = *rng.pick(&Arch::GO);
        (sig, fuzzing::random_go_abi(rng, arch))
    });
    for (name, _) in MUTATIONS
        .iter()
        .filter(|(name, _)| *name != "hidden result of another size")
    {
        assert!(
            done.get(name).is_some_and(|&n| n >= 20),
            "{name}: {:?}",
            done.get(name)
        );
    }
}

#[test]
fn rejects_every_kind_of_spoilt_native_assignment() {
    let done = spoil(6, |rng| {
        let convention = *rng.pick(&Convention::ALL);
        (fuzzing::native_signature(rng), Abi::native(convention))
    });
    let go_only = |name: &str| name.starts_with("spill slot") && name != "spill slot of a result";
    for (name, _) in MUTATIONS.iter().filter(|(name, _)| !go_only(name)) {
        assert!(
            done.get(name).is_some_and(|&n| n >= 20),
            "{name}: {:?}",
            done.get(name)
        );
    }
}

/// Every number of an assignment, as something to overwrite.
fn numbers(a: &mut Assignment) -> Vec<&mut u64> {
    let mut list: Vec<&mut u64> = Vec::new();
    for value in a.args.iter_mut().chain(&mut a.results) {
        list.extend([&mut value.size, &mut value.align]);
        match &mut value.place {
            Place::Stack { offset } | Place::Hidden { offset } => list.push(offset),
            Place::Split { piece, offset } => {
                list.extend([offset, &mut piece.off, &mut piece.size, &mut piece.reg_off]);
            }
            Place::Reference { copy, .. } => list.push(copy),
            Place::Regs { pieces, spill } => {
                list.extend(spill);
                for piece in pieces {
                    list.extend([&mut piece.off, &mut piece.size, &mut piece.reg_off]);
                }
            }
            place => panic!("{place:?} has numbers that are not tried"),
        }
    }
    list.extend([&mut a.args_end, &mut a.results_off, &mut a.results_end]);
    list.extend([&mut a.spill_off, &mut a.spill_size, &mut a.frame_size]);
    list.extend(&mut a.hidden_result);
    list
}

#[test]
fn any_number_is_judged_and_printed() {
    let extremes = [0, 1, 7, 1 << 31, 1 << 47, 1 << 63, u64::MAX - 7, u64::MAX];
    let mut rng = Rng::new(8);
    for round in 0..4000 {
        let (sig, abi) = match round % 2 {
            0 => (
                fuzzing::random_signature(&mut rng),
                fuzzing::random_go_abi(&mut rng, Arch::Amd64),
            ),
            _ => {
                let convention = *rng.pick(&Convention::ALL);
                (fuzzing::native_signature(&mut rng), Abi::native(convention))
            }
        };
        let right = accept(&sig, abi);
        let mut a = right.clone();
        for _ in 0..=rng.below(3) {
            let mut list = numbers(&mut a);
            let k = rng.below(list.len());
            *list[k] = *rng.pick(&extremes);
        }
        assert_eq!(check(&sig, &a).is_ok(), a == right, "{sig} {abi}\n{a:?}");
        assert!(!a.to_string().is_empty() && !a.frame_picture().is_empty());
    }
}

/// An assignment of another signature or ABI is one thing spoilt in many places.
#[test]
fn rejects_assignments_made_for_something_else() {
    let mut rng = Rng::new(7);
    for _ in 0..2000 {
        let sig = fuzzing::random_signature(&mut rng);
        let arch = *rng.pick(&Arch::GO);
        let (abi, other) = (
            fuzzing::random_go_abi(&mut rng, arch),
            fuzzing::random_go_abi(&mut rng, arch),
        );
        let right = accept(&sig, abi);
        let mut borrowed = accept(&sig, other);
        borrowed.abi = abi;
        assert_eq!(
            check(&sig, &borrowed).is_ok(),
            borrowed == right,
            "{sig} {abi} {other}"
        );
    }
}

#[test]
fn says_which_rule_is_broken() {
    let spoilt = |text: &str, abi: Abi, spoil: fn(&mut Assignment)| {
        let sig: Signature = text.parse().unwrap();
        let mut a = accept(&sig, abi);
        spoil(&mut a);
        check(&sig, &a).unwrap_err()
    };
    let go = Abi::go(Arch::Amd64);
    let two_words = go.with_int_arg_regs(1).unwrap();

    let v = spoilt("func(any) int", go, |a| {
        a.args[0].place = Place::Stack { offset: 0 }
    });
    assert_eq!(
        (v.rule, v.detail.as_str()),
        (
            Rule::Fit,
            "argument 0 is on the stack, wanted it in the registers left"
        )
    );

    let v = spoilt("func(any)", two_words, |a| {
        a.args[0].place = Place::Regs {
            pieces: fing_stubs::assign::pieces(&Type::error()),
            spill: Some(0),
        };
    });
    assert_eq!(
        (v.rule, v.detail.as_str()),
        (
            Rule::Sequence,
            "argument 0 piece 1 is in int register 1, wanted one below 1"
        )
    );

    let v = spoilt("func([2]int) (int8, [3]int16)", go, |a| {
        a.results[1].place = Place::Stack { offset: 8 }
    });
    assert_eq!(v.rule, Rule::Frame);
    assert_eq!(
        v.detail,
        "result 1 begins at 8, wanted it behind argument 0, which ends at 16"
    );

    let v = spoilt("func(float32) error", go, |a| match &mut a.args[0].place {
        Place::Regs { spill, .. } => *spill = None,
        _ => unreachable!("a float32 is in a register"),
    });
    assert_eq!(
        (v.rule, v.detail.as_str()),
        (Rule::Spill, "argument 0 has no spill slot, wanted one")
    );

    let v = spoilt(
        "func(int8, struct { A [2]int8 })",
        go.with_int_arg_regs(0).unwrap(),
        |a| {
            a.args[1].place = Place::Stack { offset: 2 };
            a.frame_size = 8;
        },
    );
    assert_eq!(
        (v.rule, v.detail.as_str()),
        (
            Rule::Stack,
            "offset of argument 1 is 2, wanted the first multiple of 1 from 1 on"
        )
    );

    let v = spoilt("func() (int, int, int)", Abi::system_v(), |a| {
        a.hidden_result = None
    });
    assert_eq!(
        (v.rule, v.detail.as_str()),
        (Rule::Hidden, "memory for results is none, wanted 24 bytes")
    );

    let v = spoilt(
        "func() (float32, int8)",
        Abi::system_v(),
        |a| match &mut a.results[0].place {
            Place::Regs { pieces, .. } => pieces[0].class = RegClass::Float,
            _ => unreachable!("eight bytes are in registers"),
        },
    );
    assert_eq!(
        (v.rule, v.detail.as_str()),
        (
            Rule::Pieces,
            "result 0 is in a float register, wanted the other class"
        )
    );
}

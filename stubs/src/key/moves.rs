//! Assignment to moves.
#![forbid(unsafe_code)]

use super::{Move, ResultMove, ResultSource, Source, Target};
use crate::abi::Extension;
use crate::block::BlockLayout;
use crate::signature::{Kind, WORD};
use crate::{Abi, Assignment, Piece, Place, RegClass, Type, Value};

/// All moves into the call, of arguments that begin at these offsets; with `context` the last
/// argument of the assignment is the record's context.
pub(super) fn into_call(assignment: &Assignment, offsets: &[u64], context: bool) -> Vec<Move> {
    let mut moves = Vec::new();
    let abi = assignment.abi;
    for (value, &from) in assignment.args.iter().zip(offsets) {
        one_value(value, from, abi, &mut moves);
    }
    if context && let Some(value) = assignment.args.last() {
        let to = match &value.place {
            Place::Regs { pieces, .. } => pieces.first().map(register),
            Place::Stack { offset } => Some(Target::Word(*offset as u32)),
            _ => None,
        };
        let source = Source::Context;
        moves.extend(to.map(|to| Move { source, to }));
    }
    moves
}

fn one_value(value: &Value, from: u64, abi: Abi, moves: &mut Vec<Move>) {
    let mut piece_to = |piece: &Piece, to| {
        moves.push(Move {
            source: Source::Bytes {
                from: (from + piece.off) as u32,
                size: piece.size as u32,
                signed: sign_extends(&piece.kind, abi),
            },
            to,
        });
    };
    match &value.place {
        Place::Regs { pieces, .. } => pieces.iter().for_each(|p| piece_to(p, register(p))),
        Place::Split { piece, offset } => {
            piece_to(piece, register(piece));
            if value.size == 2 * WORD {
                let second = Piece {
                    off: WORD,
                    ..piece.clone()
                };
                piece_to(&second, Target::Word(*offset as u32));
            } else {
                stack_bytes(from + WORD, value.size - WORD, *offset, moves);
            }
        }
        Place::Reference { pointer, copy } => {
            stack_bytes(from, value.size, *copy, moves);
            let to = match &**pointer {
                Place::Stack { offset } => Target::Word(*offset as u32),
                place => match place.pieces() {
                    [piece, ..] => register(piece),
                    [] => return,
                },
            };
            let source = Source::FrameAddress(*copy as u32);
            moves.push(Move { source, to });
        }
        Place::Stack { offset } => match whole_word(value, *offset, abi) {
            Some(to) => {
                let source = Source::Bytes {
                    from: from as u32,
                    size: value.size as u32,
                    signed: sign_extends(&value.ty, abi),
                };
                moves.push(Move { source, to });
            }
            None if has_slots(abi) && value.size == 2 * WORD => {
                for at in (0..value.size).step_by(WORD as usize) {
                    let source = Source::Bytes {
                        from: (from + at) as u32,
                        size: WORD as u32,
                        signed: false,
                    };
                    let to = Target::Word((offset + at) as u32);
                    moves.push(Move { source, to });
                }
            }
            None => stack_bytes(from, value.size, *offset, moves),
        },
        Place::Hidden { .. } => {}
    }
}

fn register(piece: &Piece) -> Target {
    match piece.class {
        RegClass::Int => Target::Int(piece.index as u8),
        RegClass::Float => Target::Float(piece.index as u8),
    }
}

/// The word that a native convention gives a stack scalar, unless the scalar lies elsewhere than in
/// its low bits.
fn whole_word(value: &Value, offset: u64, abi: Abi) -> Option<Target> {
    let word = offset / WORD * WORD;
    let low = if abi.machine().big_endian {
        offset + value.size == word + WORD
    } else {
        offset == word
    };
    let is_word = has_slots(abi) && matches!(value.size, 1 | 2 | 4 | 8) && low;
    is_word.then_some(Target::Word(word as u32))
}

/// Whether stack arguments take whole words.
fn has_slots(abi: Abi) -> bool {
    abi.native_table()
        .is_some_and(|native| native.stack_slot == WORD)
}

/// Word by word, then what is left; [`joined`] puts it together again where one move may carry it
/// all.
fn stack_bytes(from: u64, size: u64, to: u64, moves: &mut Vec<Move>) {
    let mut at = 0;
    while at < size {
        let chunk = [8, 4, 2, 1]
            .into_iter()
            .find(|&n| n <= size - at && at % n == 0)
            .unwrap_or(1);
        // One move for the whole words of something large.
        let chunk = if chunk == 8 && size > 16 {
            (size - at) / 8 * 8
        } else {
            chunk
        };
        moves.push(Move {
            source: Source::Bytes {
                from: (from + at) as u32,
                size: chunk as u32,
                signed: false,
            },
            to: Target::Frame((to + at) as u32),
        });
        at += chunk;
    }
}

/// Moves to the frame that continue each other become one.
pub(super) fn joined(moves: Vec<Move>) -> Vec<Move> {
    let mut out: Vec<Move> = Vec::new();
    for m in moves {
        if let (
            Source::Bytes {
                from,
                size,
                signed: false,
            },
            Target::Frame(to),
        ) = (m.source, m.to)
            && let Some(Move {
                source:
                    Source::Bytes {
                        from: before,
                        size: so_far,
                        signed: false,
                    },
                to: Target::Frame(start),
            }) = out.last_mut()
            && *before + *so_far == from
            && *start + *so_far == to
        {
            *so_far += size;
            continue;
        }
        out.push(m);
    }
    out
}

/// Whether the caller fills the bits above with copies of the top bit.
fn sign_extends(ty: &Type, abi: Abi) -> bool {
    let signed = matches!(
        ty.underlying(),
        Kind::Int | Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64
    );
    match abi.native_table().map(|native| native.extension) {
        _ if ty.layout().is_some_and(|layout| layout.size == WORD) => false,
        None | Some(Extension::Callee) => false,
        Some(Extension::Caller) => signed,
        Some(Extension::CallerFromBit31) => signed || matches!(ty.underlying(), Kind::Uint32),
    }
}

/// All moves of results to their block.
pub(super) fn out_of_call(assignment: &Assignment, block: &BlockLayout) -> Vec<ResultMove> {
    let mut moves = Vec::new();
    for (value, &to) in assignment.results.iter().zip(block.offsets()) {
        let whole = |from| ResultMove {
            from,
            size: value.size as u32,
            to: to as u32,
        };
        match &value.place {
            _ if value.size == 0 => {}
            Place::Stack { offset } => moves.push(whole(ResultSource::Frame(*offset as u32))),
            Place::Hidden { offset } => moves.push(whole(ResultSource::Hidden(*offset as u32))),
            place => moves.extend(place.pieces().iter().map(|piece| {
                let (index, byte) = (piece.index as u8, piece.reg_off as u8);
                ResultMove {
                    from: match piece.class {
                        RegClass::Int => ResultSource::Int(index, byte),
                        RegClass::Float => ResultSource::Float(index, byte),
                    },
                    size: piece.size as u32,
                    to: (to + piece.off) as u32,
                }
            })),
        }
    }
    moves
}

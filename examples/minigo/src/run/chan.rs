//! Channels and `select`.
//!
//! A channel is an object with a ring of values and two queues of those who wait. One who waits is
//! an object with the value that goes over, and the *turn* of its goroutine, which all cases of a
//! `select` share: who takes a turn first has the goroutine go on.
#![forbid(unsafe_code)]

use super::object::{copy_bytes, read, write};
use super::{Ctx, fail, lock};
use crate::types::{Kind, Ty};

const CHAN: &str = "struct { ring unsafe.Pointer; length, cap, head, closed uintptr; \
                    receivers, last_receiver, senders, last_sender unsafe.Pointer }";
const RING: usize = 0;
const LENGTH: usize = 8;
const CAP: usize = 16;
const HEAD: usize = 24;
const CLOSED: usize = 32;
const RECEIVERS: usize = 40;
const SENDERS: usize = 56;

/// The first words of one who waits; the value follows.
const WAITER: &str = "next, turn unsafe.Pointer; number, ok uintptr";
const NEXT: usize = 0;
const TURN: usize = 8;
const NUMBER: usize = 16;
const OK: usize = 24;
const VALUE: usize = 32;

const TURN_TYPE: &str = "struct { goroutine, taken uintptr; waiter unsafe.Pointer }";
const TAKEN: usize = 8;
const CHOSEN: usize = 16;

/// A case of a `select` that is being prepared.
#[derive(Debug)]
pub(crate) struct SelectCase {
    ty: Ty,
    chan: usize,
    waiter: usize,
    sends: bool,
}

impl SelectCase {
    pub(super) fn visit(&self, visit: &mut dyn FnMut(usize)) {
        visit(self.chan);
        visit(self.waiter);
    }
}

fn get(at: usize) -> usize {
    read(at) as usize
}

fn put(at: usize, value: usize) {
    write(at, value as u64);
}

fn elem(ctx: &Ctx, ty: Ty) -> (Ty, usize) {
    match *ctx.vm.program.types.kind(ty) {
        Kind::Chan(_, elem) => (elem, ctx.vm.program.types.size(elem) as usize),
        _ => (ty, 0),
    }
}

pub(super) extern "C" fn new(ctx: &mut Ctx, ty: u64, size: u64) -> u64 {
    if size > 1 << 32 {
        return fail::panic(ctx, "makechan: size out of range");
    }
    let (elem, _) = elem(ctx, Ty(ty as u32));
    let ring = ctx.array(elem, size);
    let chan = ctx.object_of(CHAN);
    put(chan + RING, ring);
    put(chan + CAP, size as usize);
    chan as u64
}

pub(super) extern "C" fn len(_: &mut Ctx, at: u64) -> u64 {
    if at == 0 {
        0
    } else {
        read(at as usize + LENGTH)
    }
}

pub(super) extern "C" fn cap(_: &mut Ctx, at: u64) -> u64 {
    if at == 0 { 0 } else { read(at as usize + CAP) }
}

/// A new object for one who waits, with the value from the context's buffer if it sends.
fn waiter(ctx: &mut Ctx, ty: Ty, number: usize, sends: bool) -> usize {
    let (elem, size) = elem(ctx, ty);
    let text = lock(&ctx.vm.heap).text(elem);
    let text = text.unwrap_or_else(|error| fail::fatal(ctx.vm, &error));
    let waiter = ctx.object_of(&format!("struct {{ {WAITER}; value {text} }}"));
    put(waiter + NUMBER, number);
    if sends {
        copy_bytes(waiter + VALUE, ctx.buffer(), size);
    }
    waiter
}

fn enqueue(chan: usize, queue: usize, waiter: usize) {
    let last = get(chan + queue + 8);
    put(if last == 0 { chan + queue } else { last + NEXT }, waiter);
    put(chan + queue + 8, waiter);
}

/// Takes the first one from a queue whose turn is not taken.
fn dequeue(chan: usize, queue: usize) -> Option<usize> {
    loop {
        let first = get(chan + queue);
        if first == 0 {
            return None;
        }
        let next = get(first + NEXT);
        put(chan + queue, next);
        if next == 0 {
            put(chan + queue + 8, 0);
        }
        if get(get(first + TURN) + TAKEN) == 0 {
            return Some(first);
        }
    }
}

/// Has the goroutine of one who waits go on.
fn take_turn(ctx: &Ctx, waiter: usize, ok: bool) {
    let turn = get(waiter + TURN);
    put(turn + TAKEN, 1);
    put(turn + CHOSEN, waiter);
    put(waiter + OK, usize::from(ok));
    ctx.vm.sched.ready(get(turn));
}

/// Sends the value in the buffer if that needs no waiting; says whether it did.
fn try_send(ctx: &mut Ctx, ty: Ty, chan: usize) -> bool {
    let (_, size) = elem(ctx, ty);
    if get(chan + CLOSED) != 0 {
        fail::begin(ctx, b"send on closed channel");
        return true;
    }
    if let Some(receiver) = dequeue(chan, RECEIVERS) {
        copy_bytes(receiver + VALUE, ctx.buffer(), size);
        take_turn(ctx, receiver, true);
        return true;
    }
    let (length, cap) = (get(chan + LENGTH), get(chan + CAP));
    if length < cap {
        let at = (get(chan + HEAD) + length) % cap;
        copy_bytes(get(chan + RING) + at * size, ctx.buffer(), size);
        put(chan + LENGTH, length + 1);
    }
    length < cap
}

/// Receives into the buffer if that needs no waiting; says whether there was a value.
fn try_receive(ctx: &mut Ctx, ty: Ty, chan: usize) -> Option<bool> {
    let (_, size) = elem(ctx, ty);
    let (length, cap, head) = (get(chan + LENGTH), get(chan + CAP), get(chan + HEAD));
    if length > 0 {
        let ring = get(chan + RING);
        copy_bytes(ctx.buffer(), ring + head * size, size);
        ctx.zero(ring + head * size, size);
        put(chan + HEAD, (head + 1) % cap);
        put(chan + LENGTH, length - 1);
        if let Some(sender) = dequeue(chan, SENDERS) {
            copy_bytes(ring + head * size, sender + VALUE, size);
            put(chan + LENGTH, length);
            take_turn(ctx, sender, true);
        }
        return Some(true);
    }
    if let Some(sender) = dequeue(chan, SENDERS) {
        copy_bytes(ctx.buffer(), sender + VALUE, size);
        take_turn(ctx, sender, true);
        return Some(true);
    }
    if get(chan + CLOSED) != 0 {
        ctx.zero(ctx.buffer(), size);
        return Some(false);
    }
    None
}

impl Ctx {
    fn zero(&self, at: usize, size: usize) {
        let zeros = vec![0u8; size];
        copy_bytes(at, zeros.as_ptr().expose_provenance(), size);
    }

    /// Waits until one of these has its turn; returns it.
    fn wait_for(&mut self, waiters: &[usize]) -> usize {
        let turn = self.object_of(TURN_TYPE);
        put(turn, self.number);
        for waiter in waiters {
            put(waiter + TURN, turn);
        }
        let kept = self.roots.len();
        self.roots.push(turn);
        self.roots.extend(waiters);
        self.wait();
        self.roots.truncate(kept);
        get(turn + CHOSEN)
    }

    /// Waits for ever.
    fn block(&mut self) {
        self.wait();
    }
}

pub(super) extern "C" fn send(ctx: &mut Ctx, ty: u64, at: u64) -> u64 {
    let (ty, chan) = (Ty(ty as u32), at as usize);
    if chan == 0 {
        ctx.block();
        return 0;
    }
    if try_send(ctx, ty, chan) {
        return 0;
    }
    let waiter = waiter(ctx, ty, 0, true);
    enqueue(chan, SENDERS, waiter);
    ctx.roots.push(chan);
    ctx.wait_for(&[waiter]);
    ctx.roots.pop();
    if get(waiter + OK) == 0 {
        return fail::begin(ctx, b"send on closed channel");
    }
    0
}

pub(super) extern "C" fn receive(ctx: &mut Ctx, ty: u64, at: u64) -> u64 {
    let (ty, chan) = (Ty(ty as u32), at as usize);
    if chan == 0 {
        ctx.block();
        return 0;
    }
    if let Some(ok) = try_receive(ctx, ty, chan) {
        return u64::from(ok);
    }
    let waiter = waiter(ctx, ty, 0, false);
    enqueue(chan, RECEIVERS, waiter);
    ctx.roots.push(chan);
    ctx.wait_for(&[waiter]);
    ctx.roots.pop();
    let (_, size) = elem(ctx, ty);
    copy_bytes(ctx.buffer(), waiter + VALUE, size);
    read(waiter + OK)
}

pub(super) extern "C" fn close(ctx: &mut Ctx, at: u64) -> u64 {
    let chan = at as usize;
    if chan == 0 {
        return fail::begin(ctx, b"close of nil channel");
    }
    if get(chan + CLOSED) != 0 {
        return fail::begin(ctx, b"close of closed channel");
    }
    put(chan + CLOSED, 1);
    for queue in [RECEIVERS, SENDERS] {
        while let Some(waiter) = dequeue(chan, queue) {
            take_turn(ctx, waiter, false);
        }
    }
    0
}

pub(super) extern "C" fn select_begin(ctx: &mut Ctx) -> u64 {
    ctx.cases.clear();
    0
}

fn add_case(ctx: &mut Ctx, ty: u64, at: u64, sends: bool) -> u64 {
    let ty = Ty(ty as u32);
    let number = ctx.cases.len();
    let waiter = waiter(ctx, ty, number, sends);
    let chan = at as usize;
    ctx.cases.push(SelectCase {
        ty,
        chan,
        waiter,
        sends,
    });
    0
}

pub(super) extern "C" fn select_send(ctx: &mut Ctx, ty: u64, at: u64) -> u64 {
    add_case(ctx, ty, at, true)
}

pub(super) extern "C" fn select_receive(ctx: &mut Ctx, ty: u64, at: u64) -> u64 {
    add_case(ctx, ty, at, false)
}

/// Runs the `select` that was prepared: returns the number of the case, or -1 for `default`.
pub(super) extern "C" fn select_run(ctx: &mut Ctx, default: u64) -> u64 {
    let cases = std::mem::take(&mut ctx.cases);
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.chan != 0) {
        let (_, size) = elem(ctx, case.ty);
        if case.sends {
            copy_bytes(ctx.buffer(), case.waiter + VALUE, size);
            if try_send(ctx, case.ty, case.chan) {
                return number as u64;
            }
        } else if let Some(ok) = try_receive(ctx, case.ty, case.chan) {
            set_ok(ctx, ok);
            return number as u64;
        }
    }
    if default != 0 {
        return u64::MAX;
    }
    let kept = ctx.roots.len();
    let mut waiters = Vec::new();
    for case in cases.iter().filter(|case| case.chan != 0) {
        enqueue(
            case.chan,
            if case.sends { SENDERS } else { RECEIVERS },
            case.waiter,
        );
        waiters.push(case.waiter);
        ctx.roots.push(case.chan);
    }
    let chosen = ctx.wait_for(&waiters);
    ctx.roots.truncate(kept);
    let number = get(chosen + NUMBER);
    let ok = get(chosen + OK) != 0;
    let case = &cases[number];
    if case.sends && !ok {
        return fail::begin(ctx, b"send on closed channel");
    }
    let (_, size) = elem(ctx, case.ty);
    copy_bytes(ctx.buffer(), chosen + VALUE, size);
    set_ok(ctx, ok);
    number as u64
}

/// Leaves a `bool` where generated code reads one.
fn set_ok(ctx: &mut Ctx, ok: bool) {
    ctx.results[0] = u64::from_ne_bytes([u8::from(ok), 0, 0, 0, 0, 0, 0, 0]);
}

//! All functions of the host: those that generated code calls by itself, and, with their packages'
//! names, those of the prelude that have no body.
#![forbid(unsafe_code)]

use std::time::UNIX_EPOCH;

use minigo_front::types::{Ty, basic};

use super::library::{self, outcome};
use super::object::{bytes, copy_bytes, read};
use super::{Ctx, TypeInfo, equal, fail, finalize, map, object, sched, text, value};

/// What generated code passes to functions of the host, or takes from them, as a word.
trait Word {
    fn from_word(word: u64) -> Self;
    fn into_word(self) -> u64;
}

/// The type of what an interface holds, by the interface's first word; void for nil.
struct Held(Ty);

macro_rules! words {
    ($($type:ty: $word:ident $from:expr, $value:ident $into:expr;)*) => {
        $(impl Word for $type {
            fn from_word($word: u64) -> Self {
                $from
            }

            fn into_word(self) -> u64 {
                let $value = self;
                $into
            }
        })*
    };
}

words! {
    u64: word word, value value;
    usize: word word as usize, value value as u64;
    i64: word word as i64, value value as u64;
    f64: word f64::from_bits(word), value value.to_bits();
    bool: word word as u8 != 0, value value.into();
    Ty: word Ty(word as u32), value value.0.into();
    Held: word Held(TypeInfo::of(word).map_or(basic::VOID, |of| of.ty)), held held.0.into_word();
    (): _word (), _value 0;
}

/// Makes a table of functions from their names, parameters and bodies.
macro_rules! hosts {
    ($($name:literal ($ctx:ident $(, $arg:ident: $type:ty)*) $body:expr;)*) => {
        &[$({
            extern "C" fn host($ctx: &mut Ctx $(, $arg: u64)*) -> u64 {
                $(let $arg = <$type as Word>::from_word($arg);)*
                Word::into_word($body)
            }
            let address: extern "C" fn(&mut Ctx $(, hosts!(@word $arg))*) -> u64 = host;
            ($name, address as *const (), <[&str]>::len(&[$(stringify!($arg)),*]))
        }),*]
    };
    (@word $arg:ident) => { u64 };
}

/// Functions of the library that functions of the host call.
pub(crate) const CALLED: [&str; 3] = ["runtime.die", "runtime.fault", "runtime.panicNil"];

/// All functions of the host: name, address, number of words.
pub(crate) const HELPERS: &[(&str, *const (), usize)] = hosts! {
    "new"(ctx, site: usize) object::new(ctx, site);
    "refill"(ctx, site: usize) object::refill(ctx, site);
    "make_slice"(ctx, elem: Ty, length: u64, cap: u64) object::make_slice(ctx, elem, length, cap);
    "grow"(ctx, elem: Ty, at: u64, length: u64, cap: u64, wanted: u64)
        object::grow(ctx, elem, [at, length, cap, wanted]);
    "move"(_ctx, to: usize, from: usize, count: usize) copy_bytes(to, from, count);
    "poll"(ctx) ctx.safepoint();
    "interfaces_equal"(ctx, t: u64, a: u64, u: u64, b: u64)
        equal::interfaces_equal(ctx, [t, a], [u, b]);
    "implements"(ctx, held: Held, interface: Ty) object::implements(ctx, held.0, interface);

    "concat"(ctx, a: usize, n: usize, b: usize, m: usize) text::concat(ctx, [a, n], [b, m]);
    "compare"(_ctx, a: u64, n: u64, b: u64, m: u64) bytes(a, n).cmp(bytes(b, m)) as i64;
    "runtime.textOfBytes"(ctx, at: u64, length: u64, _cap: u64) ctx.leave_text(bytes(at, length));
    "runtime.bytesOfText"(ctx, at: u64, length: u64) {
        ctx.leave_text(bytes(at, length));
        ctx.results[2] = length
    };

    "runtime.typeText"(ctx, ty: Ty) ctx.leave_text(ctx.types().show(ty).as_bytes());
    "runtime.isInterface"(ctx, ty: Ty) ctx.types().is_interface(ty);
    "runtime.missing"(ctx, held: Held, _word: u64, interface: Ty) {
        let missing = ctx.types().missing_method(held.0, interface);
        ctx.leave_text(missing.map_or(&[], |(name, _)| name.as_bytes()))
    };
    "runtime.raise"(ctx, panic: usize) ctx.panicking = panic;
    "runtime.same"(_ctx, info: u64, word: u64, other: u64, with: u64)
        (info, word) == (other, with);
    "runtime.fatal"(_ctx, text: u64, length: u64) fail::end(bytes(text, length));
    "runtime.stackOverflow"(_ctx)
        fail::end(b"runtime: goroutine stack exceeds 1000000000-byte limit\n\
            fatal error: stack overflow");
    "recover"(ctx, frame: usize) fail::recover(ctx, frame);
    "defer_begin"(ctx, frame: usize) fail::defer_begin(ctx, frame);
    "defer_after"(ctx, frame: usize) fail::defer_after(ctx, frame);
    "defer_end"(ctx, frame: usize) fail::defer_end(ctx, frame);

    "map_get"(ctx, ty: Ty, map: usize) map::get(ctx, ty, map);
    "map_set"(ctx, ty: Ty, map: usize) map::set(ctx, ty, map);
    "map_delete"(ctx, ty: Ty, map: usize) map::delete(ctx, ty, map);
    "map_next"(ctx, ty: Ty, map: usize, after: usize) map::next(ctx, ty, map, after);

    "channel.goroutine"(ctx) ctx.number;
    "channel.park"(ctx) ctx.wait();
    "channel.ready"(ctx, goroutine: usize) ctx.vm.sched.ready(goroutine);
    "channel.fault"(ctx, text: u64, length: u64)
        fail::begin(ctx, bytes(text, length));
    "sync.fatal"(_ctx, text: u64, length: u64) fail::end(bytes(text, length));

    "go"(ctx, closure: usize) sched::go(ctx, closure);
    "runtime.weakMake"(ctx, pointer: usize) finalize::weak_make(ctx, pointer);
    "add_cleanup"(ctx, pointer: usize, closure: usize, function: usize, argument: usize)
        finalize::add_cleanup(ctx, [pointer, closure, function, argument]);
    "runtime.GC"(ctx) finalize::collect(ctx);
    "runtime.Gosched"(ctx) ctx.make_way();
    "runtime.SetFinalizer"(ctx, info: u64, word: u64, finalizer_info: u64, finalizer: u64)
        finalize::set_finalizer(ctx, [info, word], [finalizer_info, finalizer]);
    "runtime.stopCleanup"(ctx, object: u64, number: u64) {
        ctx.vm.runtime.stop_cleanup([object, number]);
    };
    "runtime.goroutines"(ctx) ctx.vm.sched.count();
    "runtime.readMemStats"(ctx) {
        let heap = ctx.vm.runtime.stats().heap;
        ctx.leave([heap.live_bytes, heap.objects, heap.collections as usize])
    };
    "debug.SetGCPercent"(ctx, percent: i64) library::set_percent(ctx, percent);

    "runtime.write"(_ctx, at: u64, length: u64) drop(library::write_file(2, bytes(at, length)));
    "strings.cased"(_ctx, rune: u64, upper: bool) text::cased(rune, upper);
    "strconv.IsPrint"(_ctx, rune: u64) text::is_print(rune);
    "strconv.decimal"(ctx, value: f64, decimals: i64, bits: u64, exponent: bool) {
        let decimals = usize::try_from(decimals).ok();
        ctx.leave_text(text::float(value, decimals, bits == 32, exponent).as_bytes())
    };
    "time.Sleep"(ctx, nanoseconds: i64) ctx.sleep(nanoseconds);
    "time.now"(_ctx)
        UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);

    "value.look"(ctx, held: Held, at: usize) {
        let found = value::look(ctx.types(), held.0, at);
        ctx.leave(found)
    };
    "value.TypeName"(ctx, held: Held, _at: u64) match held.0 {
        basic::VOID => ctx.leave_text(b"<nil>"),
        ty => ctx.leave_text(ctx.types().show(ty).as_bytes()),
    };
    "value.AsFloat"(ctx, held: Held, at: usize) equal::float(at, ctx.types().size(held.0));
    "value.AsString"(ctx, _info: u64, at: usize)
        ctx.leave([read(at) as usize, read(at + 8) as usize]);
    "value.Part"(ctx, held: Held, at: usize, index: usize) {
        let part = value::part(ctx.types(), held.0, at, index);
        value::leave(ctx, part)
    };
    "value.PartType"(ctx, held: Held, at: usize, index: usize) {
        let part = value::part(ctx.types(), held.0, at, index);
        let ty = part.map_or(basic::VOID, |(ty, _)| ty);
        ctx.leave_text(ctx.types().show(ty).as_bytes());
        ctx.results[2] = (ctx.types().integer(ty) == Some((8, false))).into()
    };
    "value.Field"(ctx, held: Held, _at: u64, index: usize) {
        let field = ctx.types().field(held.0, index);
        ctx.leave_text(field.map_or("", |field| &field.name).as_bytes())
    };
    "value.Next"(ctx, held: Held, map: usize, after: usize) map::next(ctx, held.0, map, after);
    "value.Entry"(ctx, held: Held, map: usize, number: usize, which: usize) {
        let parts = map::parts(ctx.vm, held.0, map, number);
        value::leave(ctx, Some(parts[which]))
    };

    "os.Exit"(ctx, code: i64) library::exit(ctx, code);
    "os.lookupEnv"(ctx, name: u64, length: u64) library::environment(ctx, bytes(name, length));
    "os.open"(ctx, name: u64, length: u64, flags: u64)
        outcome(ctx, library::open(bytes(name, length), flags));
    "os.read"(ctx, file: u64, to: usize, length: usize, _cap: u64)
        outcome(ctx, library::read_file(file, to, length));
    "os.write"(ctx, file: u64, at: u64, length: u64, _cap: u64)
        outcome(ctx, library::write_file(file, bytes(at, length)));
    "os.closeFile"(ctx, file: u64) outcome(ctx, library::close(file));
    "os.remove"(ctx, name: u64, length: u64)
        outcome(ctx, library::remove(bytes(name, length)));
};

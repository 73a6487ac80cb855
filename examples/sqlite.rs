//! SQL functions that are closures of a VM. SQLite calls each through a callback of its own, and
//! says through another one when it has no more use for it. The closures are objects on fing's
//! heap; when one is unreachable, its finalizer frees its callback.
//!
//! ```text
//! cargo run --example sqlite
//! ```
//!
//! SQLite is the system's library (Debian's package `libsqlite3-0`), opened at run time.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::Write;
use std::ptr::{null, null_mut};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::stubs::entry::{CallbackOptions, Entries, EntryPoint, SharedCallback};
use fing::{Abi, FinalizerFn, Handle, Runtime, TypeId};

/// Called with each row of a result.
type Row = unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;

/// SQLITE_UTF8
const UTF8: c_int = 1;

/// Functions of SQLite's, found when it is opened.
macro_rules! functions {
    ($($name:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        struct Sqlite {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Sqlite {
            fn open_library() -> Result<Sqlite, NoSqlite> {
                // SAFETY: SQLite's initializers may run at any time; the library is never closed.
                let library = unsafe { libc::dlopen(c"libsqlite3.so.0".as_ptr(), libc::RTLD_NOW) };
                if library.is_null() {
                    return Err(NoSqlite);
                }
                Ok(Sqlite {
                    $($name: {
                        type Function = unsafe extern "C" fn($($argument),*) $(-> $result)?;
                        // SAFETY: an open library and a C string.
                        let found = unsafe { libc::dlsym(library, $symbol.as_ptr()) };
                        if found.is_null() {
                            return Err(NoSqlite);
                        }
                        // SAFETY: SQLite's documentation gives the function this type.
                        unsafe { std::mem::transmute::<*mut c_void, Function>(found) }
                    },)*
                })
            }
        }
    };
}

functions! {
    open = c"sqlite3_open": fn(*const c_char, *mut *mut c_void) -> c_int;
    close = c"sqlite3_close": fn(*mut c_void) -> c_int;
    exec = c"sqlite3_exec":
        fn(*mut c_void, *const c_char, Row, *mut c_void, *mut *mut c_char) -> c_int;
    create_function = c"sqlite3_create_function_v2": fn(
        *mut c_void, *const c_char, c_int, c_int, *mut c_void,
        *const c_void, *const c_void, *const c_void, *const c_void
    ) -> c_int;
    errmsg = c"sqlite3_errmsg": fn(*mut c_void) -> *const c_char;
    user_data = c"sqlite3_user_data": fn(*mut c_void) -> *mut c_void;
    value_double = c"sqlite3_value_double": fn(*mut c_void) -> f64;
    result_double = c"sqlite3_result_double": fn(*mut c_void, f64);
}

/// Why SQLite can't be opened.
#[derive(Debug)]
pub(crate) struct NoSqlite;

impl std::fmt::Display for NoSqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("found no libsqlite3.so.0 (Debian: libsqlite3-0)")
    }
}

impl Error for NoSqlite {}

/// What a closure's code is given: the number that it captured, and its argument.
type Code = fn(captured: f64, argument: f64) -> f64;

/// SQLite's user data of a function: what keeps the closure alive.
struct Registered {
    runtime: Runtime,
    closure: Handle,
}

/// A VM with closures, and a database that calls them.
struct Machine {
    sqlite: Arc<Sqlite>,
    database: *mut c_void,
    runtime: Runtime,
    /// A closure's object: the number that it captured, and the key of its callback.
    closure: TypeId,
    /// Drops the callback.
    finalizer: FinalizerFn,
    callbacks: Arc<Mutex<HashMap<u64, SharedCallback>>>,
    entries: Entries,
    /// `void function(sqlite3_context *, int, sqlite3_value **)`
    functions: EntryPoint,
    /// `void destroy(void *)`, for all functions.
    destroy: SharedCallback,
}

impl Machine {
    fn new() -> Result<Machine, Box<dyn Error>> {
        let sqlite = Arc::new(Sqlite::open_library()?);
        let mut database = null_mut();
        // SAFETY: a C string and a place for the result.
        let status = unsafe { (sqlite.open)(c":memory:".as_ptr(), &mut database) };
        if status != 0 {
            return Err(format!("sqlite3_open: status {status}").into());
        }
        let runtime = Runtime::new()?;
        let types = runtime.types();
        let closure = types.define(
            "main.Closure",
            "struct { Captured float64; Callback uint64 }",
        )?;
        let callbacks = Arc::new(Mutex::new(HashMap::new()));
        let alive = callbacks.clone();
        let signature = types.parse_signature("func(*main.Closure)")?;
        let finalizer = FinalizerFn::from_rust(signature, move |mutator, object| {
            let object = object.get(mutator).expect("of this runtime");
            let key = mutator.load_word(object, 8).expect("two words");
            let callback: Option<SharedCallback> = alive.lock().unwrap().remove(&key);
            // From here on its address may be another callback's.
            drop(callback);
        });
        let (entries, abi) = (Entries::new(Default::default())?, Abi::host_native()?);
        let signature = "func(unsafe.Pointer, int32, *unsafe.Pointer)".parse()?;
        let functions = entries.point(&signature, abi)?;
        let signature = "func(unsafe.Pointer)".parse()?;
        let destroy = SharedCallback::new(&entries, &signature, abi, |call| {
            let data: usize = call.argument(0).expect("a pointer");
            // SAFETY: SQLite hands each function's user data here once, when no call of the
            // function can follow. The closure is no root any more.
            drop(unsafe {
                Box::from_raw(std::ptr::with_exposed_provenance_mut::<Registered>(data))
            });
        })?;
        Ok(Machine {
            sqlite,
            database,
            runtime,
            closure,
            finalizer,
            callbacks,
            entries,
            functions,
            destroy,
        })
    }

    /// Makes a closure of some code and a number, and a function of SQL that calls it. A function
    /// that had the name before is given up by SQLite.
    fn define(
        &self,
        name: &CStr,
        key: u64,
        captured: f64,
        code: Code,
    ) -> Result<(), Box<dyn Error>> {
        let closure = self.runtime.enter(|mutator| {
            let closure = mutator.alloc(self.closure)?;
            mutator.store_word(closure, 0, captured.to_bits())?;
            mutator.store_word(closure, 8, key)?;
            mutator.set_finalizer(closure, &self.finalizer)?;
            Ok::<_, Box<dyn Error>>(mutator.root(closure)?)
        })??;
        let sqlite = self.sqlite.clone();
        let options = CallbackOptions::default().owner(name.to_string_lossy());
        let callback = SharedCallback::at(&self.functions, options, move |call| {
            let context: usize = call.argument(0).expect("a pointer");
            let values: usize = call.argument(2).expect("a pointer");
            let context = std::ptr::with_exposed_provenance_mut(context);
            // SAFETY: SQLite passes a context with the user data of this function, and as many
            // values as the function was declared with: one.
            unsafe {
                let value = std::ptr::with_exposed_provenance::<*mut c_void>(values).read();
                let data = (sqlite.user_data)(context).cast::<Registered>();
                let argument = (sqlite.value_double)(value);
                (sqlite.result_double)(context, code((*data).captured(), argument));
            }
        })?;
        let address = std::ptr::with_exposed_provenance(callback.address());
        self.callbacks.lock().unwrap().insert(key, callback);
        let runtime = self.runtime.clone();
        let data = Box::into_raw(Box::new(Registered { runtime, closure }));
        let destroy = std::ptr::with_exposed_provenance(self.destroy.address());
        data.expose_provenance();
        // SAFETY: an open database; two callbacks that live as long as SQLite may call them: one
        // until its closure's finalizer has run, the other as long as this machine.
        let status = unsafe {
            (self.sqlite.create_function)(
                self.database,
                name.as_ptr(),
                1,
                UTF8,
                data.cast(),
                address,
                null(),
                null(),
                destroy,
            )
        };
        self.check(status)
    }

    /// The rows of a query, with `|` between values.
    fn query(&self, sql: &str) -> Result<String, Box<dyn Error>> {
        unsafe extern "C" fn row(
            to: *mut c_void,
            count: c_int,
            values: *mut *mut c_char,
            _names: *mut *mut c_char,
        ) -> c_int {
            // SAFETY: `to` is the string below; SQLite passes so many C strings, or nulls.
            let (to, values) = unsafe {
                let values = std::slice::from_raw_parts(values, count as usize);
                let text = values.iter().map(|&value| match value.is_null() {
                    true => "NULL".into(),
                    false => CStr::from_ptr(value).to_string_lossy(),
                });
                (&mut *to.cast::<String>(), text.collect::<Vec<_>>())
            };
            to.push_str(&(values.join("|") + "\n"));
            0
        }
        let (text, mut rows) = (CString::new(sql)?, String::new());
        let to = (&raw mut rows).cast();
        // SAFETY: an open database, a C string, and a function that expects the string's address.
        let status =
            unsafe { (self.sqlite.exec)(self.database, text.as_ptr(), row, to, null_mut()) };
        self.check(status)?;
        Ok(rows)
    }

    fn check(&self, status: c_int) -> Result<(), Box<dyn Error>> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: an open database, whose last message is a C string.
        let message = unsafe { CStr::from_ptr((self.sqlite.errmsg)(self.database)) };
        Err(message.to_string_lossy().into())
    }

    /// Collects and finalizes, and returns how many callbacks of closures there are.
    fn collect(&self) -> Result<usize, Box<dyn Error>> {
        self.runtime.gc()?;
        let a_while = Duration::from_secs(60);
        self.runtime.block_until_finalizer_queue_empty(a_while)?;
        // One is `destroy`.
        Ok(self.entries.stats().alive - 1)
    }

    fn close(&mut self) -> Result<(), Box<dyn Error>> {
        // SAFETY: an open database, without statements; it is not used again.
        let status = unsafe { (self.sqlite.close)(self.database) };
        if status == 0 {
            Ok(())
        } else {
            Err(format!("sqlite3_close: status {status}").into())
        }
    }
}

impl Registered {
    /// The number that the closure captured.
    fn captured(&self) -> f64 {
        let bits = self.runtime.enter(|mutator| {
            let closure = mutator.get(&self.closure).expect("of this runtime");
            mutator.load_word(closure, 0).expect("two words")
        });
        f64::from_bits(bits.expect("not inside a collection"))
    }
}

/// Defines, uses and gives up functions, and returns what is to be printed.
pub(crate) fn run() -> Result<String, Box<dyn Error>> {
    let mut printed = String::new();
    let mut machine = Machine::new()?;
    machine.query(
        "create table parts (name, price); insert into parts values ('bolt', 0.5), ('gear', 8)",
    )?;
    const PRICES: &str = "select name, priced(price), rounded(priced(price)) from parts";

    machine.define(c"priced", 1, 1.25, |factor, price| factor * price)?;
    machine.define(c"rounded", 2, 0.5, |to, price| (price / to).round() * to)?;
    write!(printed, "{}", machine.query(PRICES)?)?;
    writeln!(printed, "{} callbacks of closures", machine.collect()?)?;

    // SQLite gives the first closure up; it dies, and its finalizer frees its callback.
    machine.define(c"priced", 3, 3.0, |more, price| more + price)?;
    writeln!(
        printed,
        "{} before a collection",
        machine.entries.stats().alive - 1
    )?;
    writeln!(printed, "{} after it", machine.collect()?)?;
    write!(printed, "{}", machine.query(PRICES)?)?;

    machine.close()?;
    writeln!(
        printed,
        "{} after the database was closed",
        machine.collect()?
    )?;
    writeln!(
        printed,
        "finalizers run: {}",
        machine.runtime.stats().executed
    )?;
    Ok(printed)
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

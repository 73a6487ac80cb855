//! Which other runtimes there are, and how their programs under `benches/peers` are built and
//! started.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Process;
use super::subjects::{EVERY, USUAL, WITH_CONTEXT};
use super::work::{ALL_DEAD, HALF_DEAD, Work};
use crate::measure::{Fault, Subject};

/// A runtime, with a program that speaks the protocol of `benches/peers/README.md`.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What its figures are of.
    pub(crate) about: &'static str,
    /// What it registers.
    pub(crate) kinds: &'static [Kind],
    /// Folder of the program, below `benches/peers`; also of what is built, below `target/peers`.
    folder: &'static str,
    /// Commands that build it. `{source}` and `{out}` are replaced by the two folders.
    build: &'static [&'static [&'static str]],
    /// The program and its first arguments, in the same form.
    run: &'static [&'static str],
}

/// One of the things that a peer registers.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Most objects of a round.
    pub(crate) most: usize,
    /// What it does.
    pub(crate) works: &'static [Work],
    /// `None`: it registers nothing. Else the peer's kind that registers less, to take away what
    /// the rest costs.
    pub(crate) registers: Option<&'static str>,
}

const fn kind(name: &'static str, most: usize, works: &'static [Work]) -> Kind {
    Kind {
        name,
        most,
        works,
        registers: Some("none"),
    }
}

const fn plain(name: &'static str, most: usize, works: &'static [Work]) -> Kind {
    Kind {
        registers: None,
        ..kind(name, most, works)
    }
}

/// Nothing is registered, also in a steady state.
const PLAIN_STEADY: &[Work] = &[ALL_DEAD, Work::Tree, Work::TreeChurn, Work::Steady];
/// Nothing is registered.
const PLAIN: &[Work] = &[ALL_DEAD, Work::Tree, Work::TreeChurn];
/// The same, of a runtime that is not told of roots on the stack, so that no collection happens by
/// itself.
const PLAIN_CALLED: &[Work] = &[ALL_DEAD, Work::Tree];
const TREES: &[Work] = &[Work::Tree, Work::TreeChurn];
/// What is [usual](USUAL), also in random order, and by how much the process grows.
const ALL: &[Work] = &[
    ALL_DEAD,
    HALF_DEAD,
    Work::Cancel,
    Work::Random,
    Work::Churn,
    Work::Memory,
];
/// A class has a finalizer, which is registered when an object is made and can be taken back.
const CLASS: &[Work] = &[ALL_DEAD, HALF_DEAD, Work::Cancel, Work::Random, Work::Churn];
/// The same, but it cannot be taken back.
const FINAL_CLASS: &[Work] = &[ALL_DEAD, HALF_DEAD, Work::Churn];
/// A function can be set, but not taken back.
const SET_ONLY: &[Work] = &[ALL_DEAD, HALF_DEAD, Work::Random, Work::Churn, Work::Memory];
/// The same, by hand: there is nothing that would collect by itself.
const SET_BY_HAND: &[Work] = &[ALL_DEAD, HALF_DEAD, Work::Random, Work::Memory];

const MANY: usize = 10_000_000;
const SOME: usize = 1_000_000;
const FEW: usize = 100_000;

const CARGO: &[&[&str]] = &[&[
    "cargo",
    "build",
    "--quiet",
    "--release",
    "--locked",
    "--manifest-path",
    "{source}/Cargo.toml",
    "--target-dir",
    "{out}",
]];

/// All peers, in the order of reports.
pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: "go",
        about: "runtime.SetFinalizer; cleanup: runtime.AddCleanup",
        kinds: &[
            plain("none", MANY, PLAIN_STEADY),
            kind("pointer", MANY, EVERY),
            Kind {
                registers: Some("pointer"),
                ..kind("closure", MANY, WITH_CONTEXT)
            },
            kind("interface", SOME, USUAL),
            kind("results", SOME, USUAL),
            kind("cleanup", MANY, ALL),
        ],
        folder: "go",
        build: &[&[
            "go",
            "build",
            "-C",
            "{source}",
            "-buildvcs=false",
            "-o",
            "{out}/peer",
            ".",
        ]],
        run: &["{out}/peer"],
    },
    Peer {
        name: "java",
        about: "java.lang.ref.Cleaner, parallel collector",
        kinds: &[plain("none", SOME, PLAIN), kind("cleaner", SOME, ALL)],
        folder: "java",
        build: &[&["javac", "-d", "{out}", "{source}/Peer.java"]],
        run: &[
            "java",
            "-Xms256m",
            "-Xmx8g",
            "-XX:+UseParallelGC",
            "-cp",
            "{out}",
            "Peer",
        ],
    },
    Peer {
        name: "dotnet",
        about: ".NET Core: a class with a finalizer (registered when made)",
        kinds: &[plain("none", SOME, PLAIN), kind("class", MANY, CLASS)],
        folder: "dotnet",
        build: &[&[
            "mcs",
            "-optimize",
            "-out:{out}/peer.exe",
            "{source}/Peer.cs",
        ]],
        run: &[
            "dotnet",
            "exec",
            "--runtimeconfig",
            "{source}/peer.runtimeconfig.json",
            "{out}/peer.exe",
        ],
    },
    Peer {
        name: "mono",
        about: "Mono: the same program",
        kinds: &[plain("none", SOME, PLAIN), kind("class", SOME, CLASS)],
        folder: "dotnet",
        build: &[&[
            "mcs",
            "-optimize",
            "-out:{out}/peer.exe",
            "{source}/Peer.cs",
        ]],
        run: &["mono", "{out}/peer.exe"],
    },
    Peer {
        name: "node",
        about: "FinalizationRegistry; cancel: with an unregister token",
        kinds: &[plain("none", SOME, PLAIN), kind("registry", SOME, ALL)],
        folder: "node",
        build: &[],
        run: &[
            "node",
            "--expose-gc",
            "--max-old-space-size=8192",
            "{source}/peer.mjs",
        ],
    },
    Peer {
        name: "cpython",
        about: "weakref.finalize; references are counted, so discovery is the dropping",
        kinds: &[plain("none", FEW, PLAIN), kind("finalize", FEW, ALL)],
        folder: "cpython",
        build: &[],
        run: &["python3", "{source}/peer.py"],
    },
    Peer {
        name: "lua",
        about: "a table with the metamethod __gc (registered when made)",
        kinds: &[plain("none", SOME, PLAIN), kind("gc", SOME, FINAL_CLASS)],
        folder: "lua",
        build: &[],
        run: &["lua5.4", "{source}/peer.lua"],
    },
    Peer {
        name: "luajit",
        about: "ffi.gc",
        kinds: &[plain("none", SOME, PLAIN), kind("ffi-gc", SOME, ALL)],
        folder: "lua",
        build: &[],
        run: &["luajit", "{source}/peer.lua"],
    },
    Peer {
        name: "ocaml",
        about: "Gc.finalise",
        kinds: &[plain("none", SOME, PLAIN), kind("finalise", SOME, SET_ONLY)],
        folder: "ocaml",
        build: &[
            &["cp", "{source}/peer.ml", "{out}/peer.ml"],
            &[
                "ocamlopt",
                "-I",
                "+unix",
                "unix.cmxa",
                "{out}/peer.ml",
                "-o",
                "{out}/peer",
            ],
        ],
        run: &["{out}/peer"],
    },
    Peer {
        name: "boehm",
        about: "GC_register_finalizer (ordered)",
        kinds: &[plain("none", SOME, PLAIN), kind("ordered", MANY, ALL)],
        folder: "boehm",
        build: &[&[
            "gcc",
            "-O2",
            "-Wall",
            "{source}/peer.c",
            "-o",
            "{out}/peer",
            "-lgc",
        ]],
        run: &["{out}/peer"],
    },
    Peer {
        name: "gc-arena",
        about: "MarkedArena::finalize, and a loop by hand",
        kinds: &[plain("none", SOME, PLAIN), kind("weak", MANY, SET_BY_HAND)],
        folder: "rust",
        build: CARGO,
        run: &["{out}/release/gc-arena"],
    },
    Peer {
        name: "boa",
        about: "boa_gc: the trait Finalize (registered when made), run inside the collection",
        kinds: &[
            plain("none", SOME, TREES),
            kind("finalize", SOME, &[ALL_DEAD, HALF_DEAD]),
        ],
        folder: "rust",
        build: CARGO,
        run: &["{out}/release/boa"],
    },
    Peer {
        name: "mmtk",
        about: "mmtk::memory_manager::add_finalizer, and a loop by hand; fing: examples/mmtk; plan \
                MarkSweep, immix: Immix",
        kinds: &[
            plain("marksweep", SOME, PLAIN_CALLED),
            plain("immix", SOME, PLAIN_CALLED),
            kind("finalizer", SOME, SET_BY_HAND),
            kind("fing", SOME, SET_BY_HAND),
        ],
        folder: "mmtk",
        build: CARGO,
        run: &["{out}/release/peer"],
    },
];

/// Why a peer takes no part. It is reported, and no error of the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Skip {
    /// Its runtime is not installed.
    #[error("no program {0}; scripts/install-peers installs it")]
    NoProgram(String),
    /// Its program does not build here.
    #[error("building {program}: {reason}")]
    Build { program: String, reason: String },
    /// Its program does not run here.
    #[error("starting: {0}")]
    Start(Fault),
}

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where scripts put programs that are no package of the system, relative to the checkout.
const OWN_PROGRAMS: &[(&str, &str)] = &[
    ("go", ".oracles/go/bin/go"),
    ("dotnet", ".oracles/dotnet/dotnet"),
];

/// A program by name: what `FING_<NAME>` says, one of the checkout's own, one that was built with
/// this one, or the first in the path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let own = OWN_PROGRAMS.iter().filter(|(own, _)| *own == name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let given = std::env::var_os(format!("FING_{}", name.to_uppercase()));
    given
        .map(PathBuf::from)
        .into_iter()
        .chain(own.map(|(_, path)| root().join(path)))
        .chain(std::env::current_exe().map(|this| this.with_file_name(name)))
        .chain(std::env::split_paths(&path).map(|folder| folder.join(name)))
        .find(|path| path.is_file())
}

impl Peer {
    fn source(&self) -> PathBuf {
        root().join("benches/peers").join(self.folder)
    }

    fn out(&self) -> PathBuf {
        root().join("target/peers").join(self.folder)
    }

    fn command(&self, words: &[&str]) -> Result<Command, Skip> {
        let place = |word: &str| {
            word.replace("{source}", &self.source().to_string_lossy())
                .replace("{out}", &self.out().to_string_lossy())
        };
        let (first, rest) = words.split_first().unwrap_or((&"", &[]));
        let first = place(first);
        let found = if first.contains('/') {
            Some(PathBuf::from(&first)).filter(|path| path.is_file())
        } else {
            program(&first)
        };
        let mut command = Command::new(found.ok_or(Skip::NoProgram(first))?);
        command.args(rest.iter().map(|word| place(word)));
        Ok(command)
    }

    /// Builds its program, and asks it for its version.
    ///
    /// # Errors
    /// Why it takes no part.
    pub(crate) fn prepare(&self) -> Result<String, Skip> {
        // Its runtime first: without that there is no use in building.
        if let Some(first) = self.run.first().filter(|word| !word.contains('/')) {
            program(first).ok_or_else(|| Skip::NoProgram((*first).to_owned()))?;
        }
        let failed = |reason: String| Skip::Build {
            program: self.folder.to_owned(),
            reason,
        };
        std::fs::create_dir_all(self.out()).map_err(|error| failed(error.to_string()))?;
        for words in self.build {
            let output = self.command(words)?.stdin(Stdio::null()).output();
            let output = output.map_err(|error| failed(error.to_string()))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.lines().rfind(|line| !line.trim().is_empty());
                return Err(failed(last.unwrap_or("it fails silently").to_owned()));
            }
        }
        let kind = self.kinds.last().map_or("none", |kind| kind.name);
        let mut process = self.start(kind, ALL_DEAD, 100).map_err(Skip::Start)?;
        let version = process.version().to_owned();
        process.round().map_err(Skip::Start)?;
        Ok(version)
    }

    /// Its program, at work.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(&self, kind: &str, work: Work, objects: usize) -> Result<Process, Fault> {
        let mut command = self.command(self.run)?;
        let [name, dead, targets] = work.arguments();
        command.args([kind, &name, &objects.to_string(), &dead, &targets]);
        let log = self.out().join(format!("{}.{kind}.log", self.name));
        Process::start(command, &log)
    }
}

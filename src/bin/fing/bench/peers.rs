//! Which other runtimes there are, and how their programs under `benches/peers` are built and started.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Process;
use super::subject::{Fault, Work};

/// A runtime, with a program that speaks the protocol of `benches/peers/README.md`.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What its figures are of.
    pub(crate) about: &'static str,
    /// What it registers, each with the most objects.
    pub(crate) kinds: &'static [(&'static str, usize)],
    /// Kinds that can be taken back.
    cancels: &'static [&'static str],
    /// Whether it does [`Work::Churn`].
    churns: bool,
    /// Kinds that have several functions.
    targets: &'static [&'static str],
    /// Folder of the program, below `benches/peers`; also of what is built, below `target/peers`.
    folder: &'static str,
    /// Commands that build it. `{source}` and `{out}` stand for the two folders.
    build: &'static [&'static [&'static str]],
    /// The program and its first arguments, in the same form.
    run: &'static [&'static str],
}

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
            ("none", MANY),
            ("pointer", MANY),
            ("interface", SOME),
            ("results", SOME),
            ("cleanup", MANY),
        ],
        cancels: &["pointer", "interface", "results", "cleanup"],
        churns: true,
        targets: &["pointer"],
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
        kinds: &[("cleaner", SOME)],
        cancels: &["cleaner"],
        churns: true,
        targets: &[],
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
        kinds: &[("class", MANY)],
        cancels: &["class"],
        churns: true,
        targets: &[],
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
        kinds: &[("class", SOME)],
        cancels: &["class"],
        churns: true,
        targets: &[],
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
        kinds: &[("registry", SOME)],
        cancels: &["registry"],
        churns: true,
        targets: &[],
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
        kinds: &[("finalize", FEW)],
        cancels: &["finalize"],
        churns: true,
        targets: &[],
        folder: "cpython",
        build: &[],
        run: &["python3", "{source}/peer.py"],
    },
    Peer {
        name: "lua",
        about: "a table with the metamethod __gc (registered when made)",
        kinds: &[("gc", SOME)],
        cancels: &[],
        churns: true,
        targets: &[],
        folder: "lua",
        build: &[],
        run: &["lua5.4", "{source}/peer.lua"],
    },
    Peer {
        name: "luajit",
        about: "ffi.gc",
        kinds: &[("ffi-gc", SOME)],
        cancels: &["ffi-gc"],
        churns: true,
        targets: &[],
        folder: "lua",
        build: &[],
        run: &["luajit", "{source}/peer.lua"],
    },
    Peer {
        name: "ocaml",
        about: "Gc.finalise",
        kinds: &[("finalise", SOME)],
        cancels: &[],
        churns: true,
        targets: &[],
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
        kinds: &[("ordered", MANY)],
        cancels: &["ordered"],
        churns: true,
        targets: &[],
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
        kinds: &[("weak", MANY)],
        cancels: &[],
        churns: false,
        targets: &[],
        folder: "rust",
        build: CARGO,
        run: &["{out}/release/gc-arena"],
    },
    Peer {
        name: "boa",
        about: "boa_gc: the trait Finalize (registered when made), run inside the collection",
        kinds: &[("finalize", SOME)],
        cancels: &[],
        churns: false,
        targets: &[],
        folder: "rust",
        build: CARGO,
        run: &["{out}/release/boa"],
    },
    Peer {
        name: "mmtk",
        about: "mmtk::memory_manager::add_finalizer, plan MarkSweep, and a loop by hand",
        kinds: &[("finalizer", SOME)],
        cancels: &[],
        churns: false,
        targets: &[],
        folder: "mmtk",
        build: CARGO,
        run: &["{out}/release/peer"],
    },
];

/// Why a peer takes no part. Said aloud, and no fault of the run.
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

/// The checkout: its programs, and where what is built goes.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where scripts put programs that are no package of the system, relative to the checkout.
const OWN_PROGRAMS: &[(&str, &str)] = &[
    ("go", ".oracles/go/bin/go"),
    ("dotnet", ".oracles/dotnet/dotnet"),
];

/// A program by name: what `FING_<NAME>` says, one of the checkout's own, or the first in the path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let own = OWN_PROGRAMS.iter().filter(|(own, _)| *own == name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let given = std::env::var_os(format!("FING_{}", name.to_uppercase()));
    given
        .map(PathBuf::from)
        .into_iter()
        .chain(own.map(|(_, path)| root().join(path)))
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

    /// Whether this kind does such work.
    pub(crate) fn does(&self, kind: &str, work: Work) -> bool {
        match work {
            Work::Cycle { dead: 100, targets } => targets == 1 || self.targets.contains(&kind),
            Work::Cycle { .. } => true,
            Work::Cancel => self.cancels.contains(&kind),
            Work::Churn => self.churns,
        }
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
        // What it takes to run it, first: building is no use otherwise.
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
        let kind = self.kinds.first().map_or("none", |(kind, _)| kind);
        let mut process = self
            .start(
                kind,
                Work::Cycle {
                    dead: 100,
                    targets: 1,
                },
                100,
            )
            .map_err(Skip::Start)?;
        let version = process.version().to_owned();
        super::subject::Subject::round(&mut process).map_err(Skip::Start)?;
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

//! Runs the fuzz targets on mutated corpus files, without cargo-fuzz: `mutate [target] [seconds]`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../fuzz/src/lib.rs"]
mod targets;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 7] = [
    ("safetensors", targets::safetensors),
    ("gguf", targets::gguf),
    ("sentencepiece", targets::sentencepiece),
    ("tokenizer", targets::tokenizer),
    ("peft", targets::peft),
    ("table", targets::table),
    ("config", targets::config),
];

/// Values that lengths and offsets go wrong at.
const EDGES: [u64; 8] = [
    0,
    1,
    0x7f,
    0xffff,
    u32::MAX as u64,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let chosen = arguments.next();
    let seconds = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(10);
    for (name, target) in TARGETS {
        if chosen.as_ref().is_none_or(|c| c == name) {
            run(name, target, Duration::from_secs(seconds))?;
        }
    }
    Ok(())
}

fn run(name: &str, target: fn(&[u8]), time: Duration) -> std::io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(fuzz.join("corpus").join(name))? {
        seeds.push(std::fs::read(entry?.path())?);
    }
    let start = Instant::now();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ name.len() as u64);
    let (mut runs, mut found, mut slowest) = (0u64, 0u32, Duration::ZERO);
    while start.elapsed() < time {
        let mut data = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut data, &seeds, &mut random);
        }
        let began = Instant::now();
        let outcome = std::panic::catch_unwind(|| target(&data));
        let took = began.elapsed();
        runs += 1;
        slowest = slowest.max(took);
        if outcome.is_err() || took > Duration::from_secs(2) {
            found += 1;
            save(&fuzz, name, runs, &data)?;
        }
    }
    println!("{name}: {runs} inputs, {found} findings, slowest {slowest:?}");
    Ok(())
}

fn save(fuzz: &Path, name: &str, run: u64, data: &[u8]) -> std::io::Result<()> {
    let folder: PathBuf = fuzz.join("artifacts").join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("{run}")), data)
}

fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(data.len() + 1);
    let length = random.below(32).min(data.len() - at);
    match random.below(8) {
        0 => data.truncate(at),
        1 if at < data.len() => data[at] ^= 1 << random.below(8),
        2 if at < data.len() => data[at] = random.next() as u8,
        3 if at + 8 <= data.len() => {
            let edge = EDGES[random.below(EDGES.len())].wrapping_add(random.below(3) as u64);
            data[at..at + 8].copy_from_slice(&edge.to_le_bytes());
        }
        4 => {
            data.drain(at..at + length);
        }
        5 => {
            let copy = data[at..at + length].to_vec();
            let to = random.below(data.len() + 1);
            data.splice(to..to, copy);
        }
        6 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let until = (from + random.below(64)).min(other.len());
            data.splice(at..at, other[from..until].iter().copied());
        }
        _ => {
            const TOKENS: [&str; 12] = [
                "\"",
                "{",
                "[",
                "]",
                ",",
                "\t",
                "\n",
                "-1",
                "1e999",
                "null",
                "\\ud800",
                "99999999999999999999",
            ];
            let token = TOKENS[random.below(TOKENS.len())];
            data.splice(at..at, token.bytes());
        }
    }
}

/// xorshift64*: the same inputs on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

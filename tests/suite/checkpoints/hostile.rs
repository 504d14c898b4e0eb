//! Files that are damaged, cut, forged or another optimizer's: an `Err` that says so, nothing
//! changed, and a correct step afterwards.

use crate::common::random::Random;
use serde_json::Value;
use wgpu_optim::{AdamW, CpuOptimizer, Error, GradScaler, Optimizer};

fn folder() -> String {
    format!("{}/tests/checkpoints/hostile", env!("CARGO_MANIFEST_DIR"))
}

/// The optimizer that `good.safetensors` is of.
fn optimizer() -> CpuOptimizer<f32> {
    let mut optimizer = CpuOptimizer::builder()
        .group(AdamW::default(), [("late.weight", [3, 3])])
        .group(AdamW { weight_decay: 0.0, ..Default::default() }, [("norm.weight", [5])])
        .build()
        .expect("built");
    optimizer.set_param("norm.weight", &[1.0, 2.0, 3.0, 4.0, 5.0]).expect("set");
    optimizer.set_grad("norm.weight", &[0.5; 5]).expect("set");
    optimizer.step().expect("stepped");
    optimizer
}

/// Tries a file: if it is refused, nothing has changed, and the next step is what it would have
/// been.
fn refused(bytes: &[u8]) -> Option<Error> {
    let mut optimizer = optimizer();
    let before = optimizer.save().grads().bytes().expect("saved");
    let error = optimizer.load().bytes(bytes).err()?;
    assert!(optimizer.save().grads().bytes().expect("saved") == before, "{error}");
    optimizer.step().expect("stepped");
    Some(error)
}

#[test]
fn each_hostile_file_is_refused_with_its_reason() {
    let expected = std::fs::read(format!("{}/expect.json", folder())).expect("readable");
    let expected: serde_json::Map<String, Value> = serde_json::from_slice(&expected).expect("JSON");
    assert_eq!(expected.len(), 37);
    for (name, expected) in &expected {
        let bytes = std::fs::read(format!("{}/{name}.safetensors", folder())).expect("readable");
        let error = refused(&bytes).map(|error| error.to_string());
        match expected["verdict"].as_str() {
            // Of a key that is given twice nobody knows which was meant.
            Some("either") => assert!(error.is_some(), "{name}"),
            Some("accept") => assert_eq!(error, None, "{name}"),
            _ => {
                let error = error.unwrap_or_else(|| panic!("{name} was taken"));
                let says = expected["says"].as_str().expect("text");
                for word in says.split([' ', ':', ',']).filter(|word| word.len() > 3) {
                    let is_there = error.to_lowercase().contains(&word.to_lowercase());
                    assert!(is_there || synonym(word, &error), "{name}: {word} in {error}");
                }
            }
        }
    }
}

/// Words for the same in our messages.
fn synonym(word: &str, error: &str) -> bool {
    let said = match word {
        "missing" => "a file that lacks it",
        "elements" => "shape",
        "this" | "keeps" | "says" => "",
        _ => return false,
    };
    error.contains(said)
}

/// A checkpoint of ours.
fn own() -> Vec<u8> {
    optimizer().save().grads().user("epoch", "3").bytes().expect("saved")
}

#[test]
fn every_prefix_is_refused() {
    let whole = own();
    assert_eq!(refused(&whole), None);
    for len in 0..whole.len() {
        assert!(refused(&whole[..len]).is_some(), "{len} bytes");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(refused(&longer).is_some());
}

/// Each byte of the arrays and of their checksum counts; those of the header may be spaces or a
/// user's text.
#[test]
fn every_flipped_byte_of_the_arrays_is_seen() {
    let whole = own();
    let header = u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    for at in 8 + header..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            assert!(refused(&flipped).is_some(), "byte {at}, bit {bit}");
        }
    }
}

/// Mutated headers and bodies: `CHECKPOINT_MUTATIONS` sets how many.
#[test]
fn mutated_files_are_refused_or_taken_whole() {
    let count = std::env::var("CHECKPOINT_MUTATIONS").ok().and_then(|count| count.parse().ok());
    let good = std::fs::read(format!("{}/good.safetensors", folder())).expect("readable");
    let files = [own(), good];
    let mut random = Random::new(1);
    for number in 0..count.unwrap_or(20_000u64) {
        let file = &files[(number % 2) as usize];
        let mutated = mutate(file, &mut random);
        let mut optimizer = optimizer();
        let before = optimizer.save().grads().bytes().expect("saved");
        match optimizer.load().bytes(&mutated) {
            Ok(_) => optimizer.step().expect("stepped"),
            Err(error) => {
                let after = optimizer.save().grads().bytes().expect("saved");
                assert!(after == before, "mutation {number}: {error}");
            }
        }
    }
}

/// A file with some change: bytes, pieces cut out, doubled or exchanged, numbers that are too
/// large, or words of the header in other places.
fn mutate(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..=random.next() % 3 {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.next() as usize % bytes.len();
        let len = (random.next() % 16) as usize;
        let end = (at + len).min(bytes.len());
        match random.next() % 7 {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << (random.next() % 8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = random.next() as usize % (bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 => bytes.truncate(at),
            5 => {
                // A digit of some number: offsets, shapes, hyperparameters, versions.
                let digits: Vec<_> =
                    (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
                if let Some(&at) = digits.get(random.next() as usize % digits.len().max(1)) {
                    bytes[at] = b"0123456789-.eN"[random.next() as usize % 14];
                }
            }
            _ => {
                let words: [&[u8]; 8] = [
                    b"F32",
                    b"F64",
                    b"BF16",
                    b"I64",
                    b"U8",
                    b"null",
                    b"1e999",
                    b"18446744073709551615",
                ];
                let word = words[random.next() as usize % 8];
                bytes.splice(at..end, word.iter().copied());
            }
        }
    }
    bytes
}

/// A header far larger than this optimizer's could be is not even read.
#[test]
fn a_huge_header_is_refused_before_it_is_parsed() {
    let mut json = String::from("{");
    for index in 0..1_000_000 {
        json.push_str(&format!(
            "\"{index}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}},"
        ));
    }
    json.pop();
    json.push('}');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.bytes());
    let error = refused(&bytes).expect("refused").to_string();
    assert!(error.contains("header length"), "{error}");
}

#[test]
fn a_later_version_is_refused() {
    let whole = String::from_utf8_lossy(&own()).into_owned();
    assert!(whole.contains("\\\"version\\\":1"));
    let later: Vec<u8> = {
        let bytes = own();
        let needle = b"\\\"version\\\":1";
        let at = bytes.windows(needle.len()).position(|w| w == needle).expect("there");
        let mut later = bytes;
        later[at + needle.len() - 1] = b'2';
        later
    };
    let error = refused(&later).expect("refused").to_string();
    assert!(error.contains("version 1") && error.contains("version 2"), "{error}");
}

#[test]
fn everything_that_does_not_fit_is_told_at_once() {
    let mut other = CpuOptimizer::<f32>::builder()
        .group(
            AdamW { amsgrad: true, ..Default::default() },
            [("late.wieght", vec![3, 3]), ("norm.weight", vec![6]), ("new", vec![1])],
        )
        .grad_scaler(GradScaler::default())
        .build()
        .expect("built");
    let Err(Error::Checkpoint { file, problems }) = other.load().bytes(&own()) else {
        panic!("it was loaded, or refused otherwise");
    };
    assert_eq!(file, "bytes");
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let all = text.join("\n");
    for expected in [
        "the nearest is `late.wieght`",
        "parameter `new`: expected a parameter that the file has",
        "expected `exp_avg` of shape [6], found [5]",
        "a loss scale in the file",
        "\"amsgrad\", true",
        "`max_exp_avg_sq`",
    ] {
        assert!(all.contains(expected), "{expected} in\n{all}");
    }
}

/// On the GPU as well: nothing changes, and the next step works.
#[test]
fn refusals_change_nothing_on_the_gpu() {
    let gpu = crate::common::gpu::Gpu::default();
    let build = || {
        Optimizer::builder()
            .group(AdamW::default(), [("late.weight", [3, 3])])
            .group(AdamW { weight_decay: 0.0, ..Default::default() }, [("norm.weight", [5])])
            .build(&gpu.device, &gpu.queue)
            .expect("built")
    };
    let mut optimizer = build();
    let before = optimizer.save().grads().bytes().expect("saved");
    for name in ["zeros_in_the_middle", "state_missing", "step_nan", "data_cut", "length_wrong"] {
        let bytes = std::fs::read(format!("{}/{name}.safetensors", folder())).expect("readable");
        let loaded = build().load().bytes(&bytes);
        assert_eq!(loaded.is_ok(), name == "zeros_in_the_middle", "{name}");
        if loaded.is_err() {
            assert!(optimizer.load().bytes(&bytes).is_err());
            assert!(optimizer.save().grads().bytes().expect("saved") == before, "{name}");
        }
    }
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    let mut flipped = own();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    assert!(optimizer.load().bytes(&flipped).is_err());
}

//! Rows to token sequences, batches and the split; templates.

mod common;

use common::golden;
use proptest::prelude::*;
use vaultlab_formats::examples::{
    Encoded, Example, IGNORED, MicroBatch, Row, SkipReason, canonical, encode_row, split_held_out,
};
use vaultlab_formats::template::{
    InstructionTemplate, Role, SystemRole, TemplateError, Turn, gemma_chat,
};
use vaultlab_formats::tokenizer::Tokenizer;

thread_local! {
    static TOKENIZER: Tokenizer =
        Tokenizer::parse(&golden("tokenizer/tokenizer.json"), 2, &[1, 6]).unwrap();
}

fn tokenizer() -> Tokenizer {
    TOKENIZER.with(Clone::clone)
}

fn row(prompt: &str, response: &str) -> Row {
    Row {
        prompt: Some(prompt.to_owned()),
        response: response.to_owned(),
    }
}

fn encode(row: &Row, max: usize) -> Encoded {
    encode_row(&tokenizer(), &InstructionTemplate::default(), row, max).unwrap()
}

fn example(row: &Row, max: usize) -> Example {
    match encode(row, max) {
        Encoded::Example(example) => example,
        Encoded::Skipped(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn a_row_is_bos_prompt_response_eos_with_the_prompt_masked() {
    let (tokenizer, row) = (tokenizer(), row("What is the heart?", "A muscle."));
    let example = example(&row, 1000);
    let prompt = tokenizer
        .encode_with_bos("Instruction:\nAnswer this question truthfully.\n\nQuestion:\nWhat is the heart?\n\nResponse:\n")
        .unwrap();
    let response = tokenizer.encode("A muscle.", false).unwrap();
    let ids = [prompt.as_slice(), &response, &[1]].concat();
    assert_eq!(example.ids, ids);
    let mut labels = vec![IGNORED; prompt.len()];
    labels.extend(ids[prompt.len()..].iter().map(|&id| id as i32));
    assert_eq!(example.labels, labels, "the response and EOS are learnt");
    assert_eq!(example.target_tokens(), response.len() + 1);
    assert!(!example.truncated);
}

#[test]
fn long_rows_are_cut_and_keep_eos_only_if_it_fits() {
    let row = row("Q", "one two three");
    let whole = example(&row, 1000);
    let n = whole.ids.len();
    assert_eq!(example(&row, n), whole);
    let without_eos = example(&row, n - 1);
    assert_eq!(without_eos.ids, whole.ids[..n - 1]);
    assert!(without_eos.truncated && !without_eos.ids.ends_with(&[1]));
    let targets = whole.target_tokens();
    // One response token is enough; none, and the row is left out.
    assert_eq!(example(&row, n - targets + 1).target_tokens(), 1);
    for max in 0..=n - targets {
        assert_eq!(
            encode(&row, max),
            Encoded::Skipped(SkipReason::NoTargetWithinLength)
        );
    }
}

#[test]
fn rows_without_a_response_are_left_out() {
    for blank in ["", " ", "\n\t"] {
        assert_eq!(
            encode(&row("Q", blank), 100),
            Encoded::Skipped(SkipReason::EmptyResponse)
        );
    }
}

#[test]
fn plain_text_is_learnt_whole() {
    let text = Row {
        prompt: None,
        response: "The fox".to_owned(),
    };
    let example = example(&text, 100);
    let body = tokenizer().encode("The fox", false).unwrap();
    assert_eq!(example.ids, [&[2], body.as_slice(), &[1]].concat());
    assert_eq!(example.labels[0], IGNORED);
    assert_eq!(example.target_tokens(), body.len() + 1);
}

#[test]
fn bos_spelled_in_the_text_does_not_double_it() {
    let text = Row {
        prompt: None,
        response: "<bos>x".to_owned(),
    };
    assert_eq!(
        example(&text, 100)
            .ids
            .iter()
            .filter(|&&id| id == 2)
            .count(),
        1
    );
}

/// A line break of the template and one of the response become one token, which is learnt.
#[test]
fn a_token_across_the_boundary_is_a_target() {
    let row = row("Q", "\nstarts with a break");
    let example = example(&row, 1000);
    let first = example.labels.iter().position(|&l| l != IGNORED).unwrap();
    assert_eq!(tokenizer().token(example.ids[first]).unwrap(), "\n\n");
}

#[test]
fn batches_are_padded_on_the_right_and_filled_with_masked_rows() {
    let a = Example {
        ids: vec![2, 5, 6],
        labels: vec![IGNORED, 5, 6],
        source: Vec::new(),
        truncated: false,
    };
    let b = Example {
        ids: vec![2, 7],
        labels: vec![IGNORED, 7],
        source: Vec::new(),
        truncated: false,
    };
    let batch = MicroBatch::new(&[&a, &b], 3, 0);
    assert_eq!((batch.rows, batch.width), (3, 3));
    assert_eq!(batch.input_ids, [2, 5, 6, 2, 7, 0, 0, 0, 0]);
    assert_eq!(batch.labels, [-100, 5, 6, -100, 7, -100, -100, -100, -100]);
    assert_eq!(batch.lengths, [3, 2, 0]);
    assert_eq!(MicroBatch::new(&[], 0, 0).input_ids, Vec::<u32>::new());
}

#[test]
fn canonical_rows_cannot_be_confused() {
    let rows = [
        row("ab", "c"),
        row("a", "bc"),
        row("", "abc"),
        row("abc", ""),
        Row {
            prompt: None,
            response: "abc".to_owned(),
        },
        Row {
            prompt: None,
            response: String::new(),
        },
        row("", ""),
    ];
    let all: std::collections::HashSet<_> = rows.iter().map(canonical).collect();
    assert_eq!(all.len(), rows.len());
    // Stated in the docs, and relied on by ledgers already written.
    let bytes = [
        &[1][..],
        &2u64.to_le_bytes(),
        b"ab",
        &1u64.to_le_bytes(),
        b"c",
    ]
    .concat();
    assert_eq!(canonical(&rows[0]), bytes);
}

fn many(n: usize) -> Vec<Row> {
    (0..n)
        .map(|i| row(&format!("question {i}"), &format!("answer {i}")))
        .collect()
}

/// 4,000 rows at 10 %: mean 400, standard deviation 19; five of them leave one failure in two million.
#[test]
fn the_split_has_about_the_asked_share() {
    let rows = many(4000);
    let split = split_held_out(&rows, 0.1, 7);
    assert!(
        (305..=495).contains(&split.held_out.len()),
        "{}",
        split.held_out.len()
    );
    assert_eq!(split.train.len() + split.held_out.len(), rows.len());
    assert_ne!(
        split_held_out(&rows, 0.1, 8),
        split,
        "another seed, another split"
    );
    assert!(split_held_out(&rows, 0.0, 7).held_out.is_empty());
    assert!(split_held_out(&rows, f64::NAN, 7).held_out.is_empty());
}

#[test]
fn a_smaller_share_holds_out_a_subset() {
    let rows = many(500);
    let (small, large) = (split_held_out(&rows, 0.1, 1), split_held_out(&rows, 0.3, 1));
    assert!(small.held_out.iter().all(|i| large.held_out.contains(i)));
}

#[test]
fn the_instruction_form_is_the_notebooks() {
    let text = InstructionTemplate::default().prompt("What?");
    assert_eq!(
        text,
        "Instruction:\nAnswer this question truthfully.\n\nQuestion:\nWhat?\n\nResponse:\n"
    );
}

fn turn(role: Role, content: &str) -> Turn {
    Turn {
        role,
        content: content.to_owned(),
    }
}

#[test]
fn chats_are_rendered_in_gemmas_form() {
    use Role::{Model, System, User};
    let one = gemma_chat(&[turn(User, " Hello there\n")], SystemRole::Refused).unwrap();
    assert_eq!(
        one,
        "<bos><start_of_turn>user\nHello there<end_of_turn>\n<start_of_turn>model\n"
    );
    let turns = [
        turn(System, "Be brief. "),
        turn(User, "Hi"),
        turn(Model, "Ho"),
        turn(User, "Hm"),
    ];
    assert_eq!(
        gemma_chat(&turns, SystemRole::BeforeFirstUser).unwrap(),
        "<bos><start_of_turn>user\nBe brief. \n\nHi<end_of_turn>\n<start_of_turn>model\nHo<end_of_turn>\n\
         <start_of_turn>user\nHm<end_of_turn>\n<start_of_turn>model\n"
    );
    let complete = gemma_chat(&turns[1..3], SystemRole::Refused).unwrap();
    assert!(
        complete.ends_with("Ho<end_of_turn>\n"),
        "nothing left to answer"
    );
    assert_eq!(
        gemma_chat(&turns, SystemRole::Refused),
        Err(TemplateError::SystemRefused)
    );
    assert_eq!(
        gemma_chat(&[], SystemRole::Refused),
        Err(TemplateError::Empty)
    );
    assert_eq!(
        gemma_chat(&turns[..1], SystemRole::BeforeFirstUser),
        Err(TemplateError::Empty)
    );
    use vaultlab_formats::config::Family;
    for family in [
        Family::Gemma,
        Family::Gemma2,
        Family::T5Gemma,
        Family::VaultGemma,
    ] {
        assert_eq!(SystemRole::of(family), SystemRole::Refused);
    }
    assert_eq!(SystemRole::of(Family::Gemma3), SystemRole::BeforeFirstUser);
    let model_first = gemma_chat(&turns[2..], SystemRole::Refused);
    assert_eq!(model_first, Err(TemplateError::OutOfOrder { turn: 1 }));
    let twice = [turn(System, "s"), turn(User, "a"), turn(User, "b")];
    assert_eq!(
        gemma_chat(&twice, SystemRole::BeforeFirstUser),
        Err(TemplateError::OutOfOrder { turn: 3 })
    );
    let ids = tokenizer().encode_with_bos(&one).unwrap();
    assert_eq!(
        ids.iter().filter(|&&id| id == 2).count(),
        1,
        "BOS in the text is not doubled"
    );
}

proptest! {
    /// Labels follow the text: decoding the targets gives the response, whatever the row holds.
    #[test]
    fn targets_decode_to_the_response(prompt in "[ -;=-~éあ\n]{0,30}", response in "[!-;=-~é][ -;=-~éあ]{0,30}") {
        let example = example(&row(&prompt, &response), 10_000);
        // What the model is given when asked is what it was trained to answer.
        let asked = InstructionTemplate::default().prompt(&prompt);
        prop_assert!(example.ids.starts_with(&tokenizer().encode_with_bos(&asked).unwrap()));
        let targets: Vec<u32> =
            example.labels.iter().filter(|&&l| l != IGNORED).map(|&l| l as u32).collect();
        prop_assert_eq!(targets.last(), Some(&1));
        prop_assert_eq!(tokenizer().decode(&targets, true).unwrap(), response);
        prop_assert!(!example.truncated);
    }

    /// A row's side of the split depends on nothing but the row.
    #[test]
    fn the_split_ignores_order_and_other_rows(
        n in 1usize..60,
        share in 0.0f64..0.5,
        seed: u64,
        removed in any::<prop::sample::Index>(),
        order in any::<u64>(),
    ) {
        let rows = many(n);
        let split = split_held_out(&rows, share, seed);
        let held_out = |rows: &[Row]| -> std::collections::HashSet<Row> {
            split_held_out(rows, share, seed).held_out.iter().map(|&i| rows[i].clone()).collect()
        };
        let all: std::collections::HashSet<Row> =
            split.held_out.iter().map(|&i| rows[i].clone()).collect();
        let mut shuffled = rows.clone();
        shuffled.sort_by_key(|row| row.response.len() as u64 ^ (order >> (row.response.len() % 60)));
        shuffled.rotate_left(n / 2);
        prop_assert_eq!(held_out(&shuffled), all.clone());
        let mut fewer = rows.clone();
        let gone = fewer.remove(removed.index(n));
        let mut expected = all;
        expected.remove(&gone);
        prop_assert_eq!(held_out(&fewer), expected);
    }
}

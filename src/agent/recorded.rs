//! Answers of a kept run, given again.
//!
//! They are found by role, module and round, never by the text of the prompt: today's prompts may read otherwise, and
//! today's harness judges the answers anew. A round that was needed then and is not needed today (the harness was mended)
//! is passed over, and said.

use super::{Agent, AgentError, Answer, CONTEXT_TOKENS, Request, Role};
use lockstep_harness::watch::{Stop, Watch};
use std::collections::BTreeMap;
use std::collections::VecDeque;

/// A kept run as an agent.
pub struct Recorded {
    model: String,
    answers: BTreeMap<(u32, Role, String), VecDeque<Answer>>,
}

impl Recorded {
    /// From its answers with their role, module and round; several to one question come back in their order.
    pub fn new(answers: Vec<(Role, String, u32, Answer)>) -> Self {
        let model = answers.first().map(|(.., answer)| answer.model.clone()).unwrap_or_default();
        let mut by_question: BTreeMap<_, VecDeque<Answer>> = BTreeMap::new();
        for (role, module, round, answer) in answers {
            by_question.entry((round, role, module)).or_default().push_back(answer);
        }
        Recorded { model, answers: by_question }
    }

    /// What is left, for people: all of it up to a dozen questions, else how many.
    fn there(&self) -> String {
        const SHOWN_MAX: usize = 12;
        let left: Vec<String> = self
            .answers
            .iter()
            .filter(|(_, answers)| !answers.is_empty())
            .map(|((round, role, module), _)| question(*role, module, *round))
            .collect();
        match left.len() {
            0 => "none left".into(),
            count if count > SHOWN_MAX => format!("{}; and {} more", left[..SHOWN_MAX].join("; "), count - SHOWN_MAX),
            _ => left.join("; "),
        }
    }
}

impl Agent for Recorded {
    fn name(&self) -> &'static str {
        "recorded"
    }

    fn model(&self) -> String {
        self.model.clone()
    }

    fn context_tokens(&self) -> u64 {
        CONTEXT_TOKENS
    }

    fn ask(&mut self, request: &Request, watch: &mut dyn Watch, stop: &Stop) -> Result<Answer, AgentError> {
        if stop.asked() {
            return Err(AgentError::Stopped { spent: None });
        }
        let same = |key: &(u32, Role, String)| key.1 == request.role && key.2 == request.module;
        let mut left = self.answers.iter_mut().filter(|(key, answers)| same(key) && !answers.is_empty());
        // Those of an earlier round were for something that today came out otherwise.
        let Some((key, answers)) = left.find(|(key, _)| key.0 >= request.round) else {
            let asked = question(request.role, &request.module, request.round);
            return Err(AgentError::Exhausted { asked, there: self.there() });
        };
        if key.0 > request.round {
            watch.say(&format!("recorded  answer of round {}: not all that came before it is needed today", key.0));
        }
        Ok(answers.pop_front().expect("it is not empty"))
    }
}

fn question(role: Role, module: &str, round: u32) -> String {
    let module = if module.is_empty() { String::new() } else { format!(" {module}") };
    format!("{role}{module}, round {round}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Usage;
    use lockstep_harness::watch::Silent;

    fn answer(text: &str) -> Answer {
        Answer { text: text.into(), model: "m".into(), usage: Usage::default(), seconds: 1.0, truncated: false }
    }

    fn request(role: Role, module: &str, round: u32) -> Request {
        Request {
            role,
            module: module.into(),
            round,
            system: "another system".into(),
            prompt: "another prompt".into(),
            output_tokens_max: 1,
        }
    }

    #[test]
    fn recorded_answers_by_role_module_and_round() {
        let mut recorded = Recorded::new(vec![
            (Role::Plan, String::new(), 1, answer("plan")),
            (Role::Repair, "rules".into(), 3, answer("second")),
            (Role::Translate, "rules".into(), 2, answer("first")),
        ]);
        let stop = Stop::default();
        assert_eq!(recorded.model(), "m");
        for (role, module, round, text) in
            [(Role::Translate, "rules", 2, "first"), (Role::Plan, "", 1, "plan"), (Role::Repair, "rules", 3, "second")]
        {
            let answer = recorded.ask(&request(role, module, round), &mut Silent, &stop).expect("it is recorded");
            assert_eq!(answer.text, text);
        }
        let error = recorded.ask(&request(Role::Plan, "", 1), &mut Silent, &stop).expect_err("it was taken");
        assert!(error.to_string().contains("plan, round 1; it has none left"), "{error}");
    }

    #[test]
    fn an_exhausted_recording_names_what_was_asked_and_what_is_there() {
        let mut recorded = Recorded::new(vec![(Role::Translate, "rules".into(), 2, answer("first"))]);
        let error = recorded
            .ask(&request(Role::Repair, "rules", 2), &mut Silent, &Stop::default())
            .expect_err("another role is no answer");
        assert!(matches!(error, AgentError::Exhausted { .. }));
        assert!(
            error.to_string().contains("no answer to repair rules, round 2; it has translate rules, round 2"),
            "{error}"
        );
        let many = (1..=20).map(|round| (Role::Repair, "rules".to_owned(), round, answer("x"))).collect();
        let there = Recorded::new(many).there();
        assert!(there.ends_with("repair rules, round 12; and 8 more"), "{there}");
    }

    #[test]
    fn a_round_that_is_not_needed_any_more_is_passed_over() {
        let mut recorded = Recorded::new(vec![
            (Role::Translate, "rules".into(), 2, answer("first")),
            (Role::Repair, "rules".into(), 3, answer("repair")),
            (Role::Translate, "cuda".into(), 4, answer("second")),
        ]);
        let stop = Stop::default();
        let mut ask = |role, module: &str, round| recorded.ask(&request(role, module, round), &mut Silent, &stop);
        assert_eq!(ask(Role::Translate, "rules", 2).expect("it is recorded").text, "first");
        assert_eq!(ask(Role::Translate, "cuda", 3).expect("the repair is not needed").text, "second");
        assert!(ask(Role::Repair, "rules", 4).is_err(), "it was an answer to an earlier round");
    }

    #[test]
    fn a_stopped_replay_gives_no_answer() {
        let stop = Stop::default();
        stop.ask();
        let mut recorded = Recorded::new(vec![(Role::Plan, String::new(), 1, answer("plan"))]);
        assert!(matches!(
            recorded.ask(&request(Role::Plan, "", 1), &mut Silent, &stop),
            Err(AgentError::Stopped { spent: None })
        ));
    }
}

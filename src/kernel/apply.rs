//! Executes steps. Packs and sends; never decides what is to be done.

use std::sync::Arc;

use nix::libc::EINVAL;

use super::{
    Kernel,
    error::{ErrorKind, Failure, Refusal, StepError},
    request,
};
use crate::model::Step;

/// Steps in one send. Even if all of them are refused, their answers fit the default receive buffer (208 KiB).
const AT_ONCE: usize = 64;

impl Kernel {
    /// Executes the steps in order and gives one result for each, in the same order. A step that fails does not stop the
    /// others. `protocol` marks what is added, and limits removals to what carries it; never 0.
    ///
    /// Removing what is gone already is no error. Adding what is there already is one of kind [`ErrorKind::Exists`].
    ///
    /// # Errors
    ///
    /// Per step. [`ErrorKind::Lost`] for all steps that went out together if the kernel's answers were lost.
    pub fn apply(&mut self, steps: &[Step], protocol: u8) -> Vec<Result<(), StepError>> {
        let mut results: Vec<Result<(), StepError>> = Vec::with_capacity(steps.len());
        let error = |step: &Step, source| Err(StepError { step: Box::new(step.clone()), source });
        if protocol == 0 {
            // To the kernel 0 means "any" in a removal: it could hit what is not ours.
            let text = "protocol 0 marks nothing as ours".to_owned();
            let failure = Arc::new(Failure::Refused(Refusal { errno: EINVAL, text }));
            return steps.iter().map(|step| error(step, Arc::clone(&failure))).collect();
        }
        for steps in steps.chunks(AT_ONCE) {
            let refused = self.requests.change(steps.len(), |number, writer, flags, seq| {
                if let Some(step) = steps.get(number) {
                    request::step(writer, step, protocol, flags, seq);
                }
            });
            match refused {
                Ok(refused) => {
                    let mut refused = refused.into_iter().peekable();
                    for (number, step) in steps.iter().enumerate() {
                        let refusal = refused.next_if(|(n, _)| *n == number).map(|(_, refusal)| refusal);
                        results.push(match refusal {
                            Some(refusal) if !is_done(step, &refusal) => {
                                error(step, Arc::new(Failure::Refused(refusal)))
                            }
                            _ => Ok(()),
                        });
                    }
                }
                Err(failure) => {
                    let failure = Arc::new(failure);
                    results.extend(steps.iter().map(|step| error(step, Arc::clone(&failure))));
                }
            }
        }
        results
    }
}

/// Whether the refusal says that nothing is left to do: what was to be removed is gone, perhaps with its interface.
fn is_done(step: &Step, refusal: &Refusal) -> bool {
    step.removes() && matches!(refusal.kind(), ErrorKind::NotFound | ErrorKind::NoSuchDevice)
}

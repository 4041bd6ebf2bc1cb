//! Which variant of a snapshot this host takes: the one that its engine can restore, on the best accelerator that works here.

use std::sync::Arc;

use engine::Engine;
use format::config::Accelerator;
use format::{Digest, Name};
use hub::{PullError, Registry, RemoteSnapshot, VariantKey, read_variants};
use store::Store;

use crate::error::CliError;
use crate::{context, interrupt};

/// The variant to pull where `error` says that there are several; the error itself, with what each is for, where none or more
/// than one fits.
pub(crate) fn choose(
    store: &Store,
    registry: &Arc<dyn Registry>,
    name: &Name,
    error: CliError,
) -> Result<(Digest, VariantKey), CliError> {
    let digests = match &error {
        CliError::Pull(pull) => match &**pull {
            PullError::Variants { variants, .. } if !variants.is_empty() => variants.clone(),
            _ => return Err(error),
        },
        _ => return Err(error),
    };
    let variants = interrupt::block_on(read_variants(registry, name, &digests))?;
    let list = || {
        let line =
            |one: &RemoteSnapshot| format!("\n  {name}@{}  {}", one.digest, VariantKey::of(&one.config));
        variants.iter().map(line).collect::<String>()
    };
    let engine = context::engine(store)
        .map_err(|cause| CliError::Usage(format!("{error}\n{cause}\nthey are:{}", list())))?;
    let accelerators = &engine.capabilities().accelerators;
    let fit: Vec<_> = variants.iter().filter(|one| engine.compatibility(&one.config).is_empty()).collect();
    let kinds: Vec<_> = fit.iter().map(|one| one.config.engine.accelerator).collect();
    match best(accelerators, &kinds).and_then(|index| fit.get(index)) {
        Some(one) => Ok((one.digest, VariantKey::of(&one.config))),
        None => Err(CliError::Usage(format!(
            "{name} has {} variants, of which {} fit this host; name one by its digest:{}",
            variants.len(),
            fit.len(),
            list()
        ))),
    }
}

/// The only one of `kinds` on the first of `accelerators`, the best first, on which there is any.
fn best(accelerators: &[Accelerator], kinds: &[Accelerator]) -> Option<usize> {
    let accelerator = accelerators.iter().find(|accelerator| kinds.contains(accelerator))?;
    let mut on_it = kinds.iter().enumerate().filter(|(_, kind)| *kind == accelerator);
    match (on_it.next(), on_it.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_accelerator_decides_and_a_draw_decides_nothing() {
        let (tcg, kvm) = (Accelerator::Tcg, Accelerator::Kvm);
        assert_eq!(best(&[kvm, tcg], &[tcg, kvm]), Some(1));
        assert_eq!(best(&[tcg], &[tcg]), Some(0));
        assert_eq!(best(&[kvm, tcg], &[tcg, tcg]), None);
        assert_eq!(best(&[kvm, tcg], &[tcg, kvm, tcg]), Some(1));
        assert_eq!(best(&[tcg], &[]), None);
    }
}

//! Gives up capabilities (capabilities(7)): those that are kept stay permitted and effective, nothing can be
//! inherited, and no program that is run afterwards gets any.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

/// Removes all capabilities but those that are kept from the bounding set of this thread. Without CAP_SETPCAP
/// the kernel refuses, and the bounding set stays as it is: `no_new_privs` keeps it from giving any.
pub fn limit_bounding_set(kept: CapabilitySet) -> io::Result<()> {
    if !capabilities(None)?
        .effective
        .contains(CapabilitySet::SETPCAP)
    {
        return Ok(());
    }
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        // Beyond the kernel's last one, the question is an error.
        let Ok(is_in) = capability_is_in_bounding_set(capability) else {
            break;
        };
        if is_in && !kept.contains(capability) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}

/// Keeps these capabilities, as far as this thread has them, and gives up all others for good. Returns those that it
/// has.
pub fn keep(kept: CapabilitySet) -> io::Result<CapabilitySet> {
    let held = capabilities(None)?.permitted.intersection(kept);
    clear_ambient_capability_set()?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: held,
            permitted: held,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(held)
}

//! The rules, one function each: an object and all others, and what is found.

mod autoscaler;
mod disruption;
mod edge;
mod probes;
mod rollout;
mod shutdown;

use super::{draft::Draft, draft::shown, subject::Subject, table, world::World};

/// All that the rules find.
pub(super) fn find(world: &World) -> Vec<Draft<'_>> {
    let mut found = Vec::new();
    for workload in world.workloads.iter().filter(|workload| world.replicas(workload).1 > 0) {
        found.extend(shutdown::check(world, workload));
        found.extend(probes::check(world, workload));
        found.extend(rollout::check(world, workload));
        found.extend(disruption::check(world, workload));
        found.extend(edge::check(world, workload));
        found.extend(autoscaler::check_limits(world, workload));
    }
    for budget in &world.budgets {
        found.extend(disruption::check_budget(world, budget));
    }
    for hpa in &world.hpas {
        found.extend(autoscaler::check(world, hpa));
    }
    let subjects = subjects(world);
    found.extend(subjects.flat_map(unknown_rules));
    found
}

fn subjects(world: &World) -> impl Iterator<Item = &Subject> {
    let workloads = world.workloads.iter().map(|workload| &workload.subject);
    let services = world.services.iter().map(|service| &service.subject);
    let hpas = world.hpas.iter().map(|hpa| &hpa.subject);
    let budgets = world.budgets.iter().map(|budget| &budget.subject);
    workloads.chain(services).chain(hpas).chain(budgets)
}

fn unknown_rules(subject: &Subject) -> impl Iterator<Item = Draft<'_>> {
    let names = subject.disabled.iter();
    let unknown = names.filter(|name| *name != "all" && table::rule(name).is_none());
    unknown.map(|name| {
        let known = table::RULES.iter().map(|rule| rule.name);
        let near = crate::scenario::error::nearest(name, known);
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message =
            format!("the annotation switches off `{}`, which is no rule{near}", shown(name));
        Draft::new(&table::UNKNOWN_RULE, subject, "metadata.annotations", message)
            .then("it switches nothing off")
    })
}

//! How to read the report.

use super::writer::Html;

/// A short manual.
pub(super) fn help(html: &mut Html) {
    html.lit(concat!(
        "<section id=\"help\"><details><summary>How to read this report</summary>\n<dl class=\"facts\">\n",
        "<dt>Owed</dt><dd>Every request that became due by the schedule, whether or not the service ",
        "was slow: the load is open loop. Each has exactly one outcome. owed = answered well + failed ",
        "+ not sent.</dd>\n",
        "<dt>Latency</dt><dd>From the instant when a request was due to the end of its answer, of good ",
        "answers: what a user waits for.</dd>\n",
        "<dt>Service time</dt><dd>From the instant when it was sent to the end of its answer. Much less ",
        "than the latency means that requests waited to be sent.</dd>\n",
        "<dt>Send lag</dt><dd>From due to sent: how far the generator was behind its schedule.</dd>\n",
        "<dt>Requests per second</dt><dd>Counted in the second for which they were scheduled; the first and the last second are seldom whole. In long ",
        "runs one step is the mean of several seconds; the panel says of how many.</dd>\n",
        "<dt>Lost per …</dt><dd>Sums, never means: a bar of 3 is three requests.</dd>\n",
        "<dt>Latency over time</dt><dd>Percentiles of each second. Where several seconds share a point, ",
        "the line is the highest of them and the shade reaches down to the lowest; percentiles are never averaged. A gap is a ",
        "time without good answers.</dd>\n",
        "<dt>Replicas</dt><dd>Desired is <code>spec.replicas</code>; current are pods that are not ",
        "terminating; ready are those of them that are ready.</dd>\n",
        "<dt>Pods</dt><dd>A lane per pod: colour and height are its phase, the thin line below is the ",
        "time in which some client or proxy could choose it, a red mark is where requests on it were ",
        "lost. Losses that can be laid to no pod have lanes by cause.</dd>\n",
        "<dt>Autoscaler</dt><dd>What it measured against its target; several metrics each as a ",
        "percentage of its own target. A gap is a time without readings. Triangles are changes of ",
        "<code>spec.replicas</code> by it.</dd>\n",
        "<dt>Time to scale</dt><dd>From the first reading that asked for more, by the autoscaler or ",
        "in the metrics API, to the last new pod’s endpoint. The metric’s lag behind the load’s rise ",
        "comes before that and is told on its own.</dd>\n",
        "<dt>Cost</dt><dd>Pod-seconds, from each container’s start to its end, per 1,000 good ",
        "answers.</dd>\n",
        "<dt>Scorecard</dt><dd>A second is within the objectives if each of them would have held, had ",
        "it been judged by that second alone. The demand is the least pods that could take the rate ",
        "that was intended at that instant; supply are the pods that were ready. Regret is how many ",
        "more pod-hours there were than a scaler would have had that knows the demand ahead.</dd>\n",
        "<dt>Transition</dt><dd>A pod that became ready, or whose termination began, while traffic ran. ",
        "No loss in N of them only bounds the true rate, to about 3 in N at 95 % confidence.</dd>\n",
        "<dt>Time</dt><dd>Seconds since the start of the run, which begins before its traffic does.</dd>\n",
        "</dl></details></section>\n",
    ));
}

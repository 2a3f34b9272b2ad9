//! How often things happened, so that a run in which nothing did is noticed.

/// How often things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub steps: u64,
    /// Times that the power went.
    pub power_cuts: u64,
    /// Times that the process died.
    pub kills: u64,
    /// Commits.
    pub commits: u64,
    /// Checkpoints, also those that failed.
    pub checkpoints: u64,
    /// Records that came back.
    pub restored: u64,
    /// Messages that came back when they were to be sent.
    pub loaded: u64,
    /// Times that a shard began to refuse.
    pub refusals: u64,
    /// Messages published.
    pub messages: u64,
    /// …and acknowledged.
    pub acknowledged: u64,
    /// Deliveries that were promised.
    pub claims: u64,
    /// Wills that a crash made due.
    pub wills: u64,
    /// Times that damage was told of.
    pub damage_told: u64,
    /// Deliveries from queues.
    pub jobs: u64,
    /// Settlements of which it was certain that they are stored.
    pub settled: u64,
    /// Pushes that had to be settled or dead.
    pub job_claims: u64,
}

impl Tally {
    /// Each with its name.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u64); 16] {
        let Tally {
            steps,
            power_cuts,
            kills,
            commits,
            checkpoints,
            restored,
            loaded,
            refusals,
            messages,
            acknowledged,
            claims,
            wills,
            damage_told,
            jobs,
            settled,
            job_claims,
        } = *self;
        [
            ("steps", steps),
            ("power cuts", power_cuts),
            ("kills", kills),
            ("commits", commits),
            ("checkpoints", checkpoints),
            ("restored", restored),
            ("loaded", loaded),
            ("refusals", refusals),
            ("messages", messages),
            ("acknowledged", acknowledged),
            ("claims", claims),
            ("wills", wills),
            ("damage told", damage_told),
            ("jobs", jobs),
            ("settled", settled),
            ("job claims", job_claims),
        ]
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.steps += other.steps;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.commits += other.commits;
        self.checkpoints += other.checkpoints;
        self.restored += other.restored;
        self.loaded += other.loaded;
        self.refusals += other.refusals;
        self.messages += other.messages;
        self.acknowledged += other.acknowledged;
        self.claims += other.claims;
        self.wills += other.wills;
        self.damage_told += other.damage_told;
        self.jobs += other.jobs;
        self.settled += other.settled;
        self.job_claims += other.job_claims;
    }
}

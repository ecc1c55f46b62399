/// What a life under faults came to.
package struct ChaosReport: Sendable {
    /// Faults that happened; fewer than planned where the input was over before.
    package var faults: [Fault.Kind: Int] = [:]
    /// What the program was at when it was killed.
    package var moments: [String: Int] = [:]
    package var starts = 0
    /// Ends of the program that no fault of ours was: exit code 69 or 75, after which a supervisor starts it again.
    package var givenUp = 0
    /// What the scenario adds.
    package var remarks: [String] = []
    /// Rows that are the same.
    package var rows = 0
    /// By place: what is missing and what is too much; empty where all is right.
    package var differences: [String] = []

    package var faultCount: Int { faults.values.reduce(0, +) }
    package var killCount: Int { moments.values.reduce(0, +) }

    /// A few lines, and one for each difference.
    package var summary: String {
        func list(_ counts: [String: Int]) -> String {
            counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        }
        let kinds = list(Dictionary(uniqueKeysWithValues: faults.map { ($0.key.rawValue, $0.value) }))
        var lines = [
            "\(faultCount) faults (\(kinds)), \(starts) starts, \(givenUp) of them after it gave up; \(rows) rows are right"
        ]
        if killCount > 0 { lines.append("killed \(killCount) times: \(list(moments))") }
        return (lines + remarks + differences).joined(separator: "\n")
    }

    mutating func compare(_ found: [String: [String]], _ expected: [String: [String]]) {
        for place in expected.keys.sorted() {
            let difference = ChaosReport.difference(found[place] ?? [], expected[place] ?? [])
            rows += (expected[place] ?? []).count - difference.missing.count
            for (what, rows) in [("missing", difference.missing), ("too much", difference.extra)] where !rows.isEmpty {
                differences.append(
                    "\(place): \(rows.count) rows \(what), such as \(rows.prefix(3).joined(separator: "; "))")
            }
        }
    }

    /// What two sorted lists do not share.
    package static func difference(_ found: [String], _ expected: [String]) -> (missing: [String], extra: [String]) {
        var (missing, extra): ([String], [String]) = ([], [])
        var (f, e) = (0, 0)
        while f < found.count || e < expected.count {
            if f == found.count || e < expected.count && expected[e] < found[f] {
                missing.append(expected[e])
                e += 1
            } else if e == expected.count || found[f] < expected[e] {
                extra.append(found[f])
                f += 1
            } else {
                f += 1
                e += 1
            }
        }
        return (missing, extra)
    }
}

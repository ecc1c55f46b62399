import DataflowColumnar

/// The columns' paths, merged: each object on the way is walked once, whatever number of columns lie below it.
///
/// A step that finds another kind of value than it wants finds nothing: the columns below are missing.
final class FieldTree {
    private struct Target {
        var columns: [Int] = []
        var below: FieldTree?
    }

    /// The names of the fields that objects are asked for.
    let names: [[UInt8]]
    private var matcher: FieldMatcher
    private var fields: [Target]
    private let elementIndices: [Int]
    private var elements: [Target]
    private var slots = Growable<Slot>()

    /// - Parameter paths: the columns' numbers and what is left of their paths; no path is empty or has `[*]`.
    init(_ paths: [(column: Int, steps: ArraySlice<JSONPath.Step>)]) {
        var names: [[UInt8]] = []
        var indices: [Int] = []
        var below: [JSONPath.Step: [(column: Int, steps: ArraySlice<JSONPath.Step>)]] = [:]
        for path in paths {
            guard let first = path.steps.first else { continue }
            if below[first] == nil {
                switch first {
                case .field(let name): names.append(name)
                case .element(let index): indices.append(index)
                case .every: continue
                }
            }
            below[first, default: []].append((path.column, path.steps.dropFirst()))
        }
        func target(_ step: JSONPath.Step) -> Target {
            let paths = below[step] ?? []
            let deeper = paths.filter { !$0.steps.isEmpty }
            return Target(
                columns: paths.filter(\.steps.isEmpty).map(\.column), below: deeper.isEmpty ? nil : FieldTree(deeper))
        }
        self.names = names
        matcher = FieldMatcher(names)
        elementIndices = indices
        fields = names.map { target(.field($0)) }
        elements = indices.map { target(.element($0)) }
    }

    /// Finds the columns' values in `count` values: `found[column]` gets the address of `count` slots, valid until the
    /// next call.
    func find(
        in values: UnsafePointer<Slot>, count: Int, tape: Tape, found: UnsafeMutablePointer<UnsafePointer<Slot>>
    ) {
        slots.count = 0
        slots.reserve((fields.count + elements.count) * count)
        let base = slots.base
        if !fields.isEmpty { matcher.match(values, count: count, tape: tape, into: base) }
        for (number, index) in elementIndices.enumerated() {
            let target = base + (fields.count + number) * count
            for row in 0..<count { target[row] = FieldTree.element(index, of: values[row], tape) }
        }
        for (number, target) in (fields + elements).enumerated() {
            let start = UnsafePointer(base + number * count)
            for column in target.columns { found[column] = start }
            target.below?.find(in: start, count: count, tape: tape, found: found)
        }
    }

    private static func element(_ wanted: Int, of slot: Slot, _ tape: Tape) -> Slot {
        guard slot.tag == Tag.array else { return 0 }
        let base = tape.base(slot.document)
        var index = slot.index + 1
        let end = tape.next(slot.index, base: base) - 1
        var left = wanted
        while index < end {
            if left == 0 { return tape.slot(document: slot.document, index: index) }
            left -= 1
            index = tape.next(index, base: base)
        }
        return 0
    }
}

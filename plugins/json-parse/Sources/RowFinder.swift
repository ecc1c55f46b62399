import DataflowColumnar
import Glibc

/// Finds the rows of a document by the path in `rows`.
struct RowFinder: ~Copyable {
    /// A part of a document that holds no row where one should be.
    struct Failure {
        /// The smallest value around the place: what goes to the errors port.
        var slot: Slot
        var reason: String
        /// The whole document, not only one of its rows.
        var isDocument: Bool
    }

    private let path: JSONPath
    /// The rows found by the last ``find(in:tape:)`` calls since ``begin()``.
    var rows = Growable<Slot>()
    private(set) var failures: [Failure] = []

    init(_ path: JSONPath) { self.path = path }

    mutating func begin() {
        rows.count = 0
        failures.removeAll(keepingCapacity: true)
    }

    /// Adds the rows of a document, whose root value is `root`.
    mutating func find(in root: Slot, tape: Tape) {
        if path.steps.isEmpty {
            rows.append(root)
        } else {
            visit(root, step: 0, tape, element: nil)
        }
    }

    private mutating func visit(_ slot: Slot, step number: Int, _ tape: Tape, element: Slot?) {
        guard number < path.steps.count else {
            rows.append(slot)
            return
        }
        switch path.steps[number] {
        case .every:
            if slot.tag == Tag.array {
                let base = tape.base(slot.document)
                var index = slot.index + 1
                let end = tape.next(slot.index, base: base) - 1
                while index < end {
                    let inner = tape.slot(document: slot.document, index: index)
                    visit(inner, step: number + 1, tape, element: inner)
                    index = tape.next(index, base: base)
                }
            } else if slot.tag == Tag.object {
                let base = tape.base(slot.document)
                var index = slot.index + 1
                let end = tape.next(slot.index, base: base) - 1
                while index < end {
                    let inner = tape.slot(document: slot.document, index: index + 1)
                    visit(inner, step: number + 1, tape, element: inner)
                    index = tape.next(index + 1, base: base)
                }
            } else if slot.tag != Tag.null {
                // Null in place of a list is an empty list, as many APIs write it.
                fail(slot, "a list was expected", number, element)
            }
        case .field(let name):
            guard slot.tag == Tag.object else { return fail(slot, "an object was expected", number, element) }
            let base = tape.base(slot.document)
            var index = slot.index + 1
            let end = tape.next(slot.index, base: base) - 1
            var found: Slot = 0
            while index < end {
                let key = tape.string(tape.words[index], document: slot.document)
                if key.count == name.count, name.withUnsafeBytes({ isEqual($0, key) }) {
                    found = tape.slot(document: slot.document, index: index + 1)
                }
                index = tape.next(index + 1, base: base)
            }
            guard found != 0 else { return fail(slot, "the field is missing", number + 1, element) }
            visit(found, step: number + 1, tape, element: element)
        case .element(let wanted):
            guard slot.tag == Tag.array else { return fail(slot, "a list was expected", number, element) }
            let base = tape.base(slot.document)
            var index = slot.index + 1
            let end = tape.next(slot.index, base: base) - 1
            var left = wanted
            while index < end, left > 0 {
                left -= 1
                index = tape.next(index, base: base)
            }
            guard index < end else { return fail(slot, "the list is shorter", number + 1, element) }
            visit(
                tape.slot(document: slot.document, index: index), step: number + 1, tape, element: element)
        }
    }

    private func isEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard let l = left.baseAddress, let r = right.baseAddress else { return left.count == right.count }
        return memcmp(l, r, left.count) == 0
    }

    private mutating func fail(_ slot: Slot, _ reason: String, _ steps: Int, _ element: Slot?) {
        let place = "$" + path.steps[..<steps].map(\.description).joined()
        failures.append(
            Failure(slot: element ?? slot, reason: "\(place): \(reason)", isDocument: element == nil))
    }
}

/// The columns with structure inside: nutriments, and the big ones that nobody reads but that every page carries.
extension ProductGenerator {
    func appendNutriments(isNewLayout: Bool, _ random: inout RandomBits, to writer: inout JSONWriter) {
        if random.chance(0.18) { return writer.null() }
        let nutrients = vocabulary.nutrients
        let isPerServing = random.chance(0.2)
        let serving = Double(20 + random.index(60)) / 100
        // The order within the list is not that of any table.
        let start = random.index(nutrients.count)
        var position = 0
        writer.list { _, writer in
            while position < nutrients.count {
                let number = (start + position * 7) % nutrients.count
                let nutrient = nutrients[number]
                position += 1
                guard random.chance(nutrient.share) else { continue }
                var value = random.quantile(nutrient.values)
                if nutrient.name == "sugars", random.chance(0.003) { value = 100 + 800 * random.unit() }
                if nutrient.name == "nova-group" { value = value.rounded() }
                // As entered: to one digit (more for traces), or a fraction of a serving.
                let unit = value < 0.05 ? 100_000.0 : value < 1 ? 1000.0 : 10.0
                value = (value * unit).rounded() / unit
                let per100 =
                    isPerServing && !nutrient.isDerived ? (value / serving * 0.3 * 10_000).rounded() / 10_000 : value

                writer.raw(vocabulary.nutrientKeys[number])
                if isNewLayout || nutrient.isDerived { writer.null() } else { writer.float32(value) }
                writer.raw(#","100g":"#)
                // A few have only what is in a serving.
                random.chance(0.004) ? writer.null() : writer.float32(per100)
                writer.raw(#","serving":"#)
                isPerServing ? writer.float32(value) : writer.null()
                writer.raw(#","unit":"#)
                if let unit = nutrient.unit { writer.string(unit.utf8) } else { writer.null() }
                writer.raw(
                    #","prepared_value":null,"prepared_100g":null,"prepared_serving":null,"prepared_unit":null}"#)
                return true
            }
            return false
        }
    }

    /// JSON inside a JSON string: every quote is escaped.
    func appendIngredients(_ product: Product, _ random: inout RandomBits, to writer: inout JSONWriter) {
        let size = random.quantile([4, 350, 2000, 5100, 8300, 14_800, 21_800, 36_000])
        guard product.hasIngredients else { return writer.null() }
        let end = writer.bytes.count + Int(size)
        writer.raw("\"")
        writer.list { index, writer in
            guard index == 0 || writer.bytes.count < end else { return false }
            let name = vocabulary.words[random.index(vocabulary.words.count)]
            let percent = 100 / Double(index + 1)
            writer.raw(#"{\"percent_max\":"#)
            writer.float32(percent)
            writer.raw(#",\"percent_min\":0.0,\"is_in_taxonomy\":1,\"percent_estimate\":"#)
            writer.float32(percent * 0.7)
            writer.raw(#",\"vegan\":\"maybe\",\"id\":\"en:"#)
            writer.raw(Array(name.utf8))
            writer.raw(#"\",\"text\":\""#)
            writer.raw(Array(name.utf8))
            writer.raw(#"\",\"vegetarian\":\"maybe\",\"ciqual_food_code\":"#)
            if random.chance(0.5) {
                writer.raw(#"\""#)
                writer.integer(9000 + random.index(30_000))
                writer.raw(#"\""#)
            } else {
                writer.null()
            }
            writer.raw(#",\"percent\":null,\"from_palm_oil\":null,\"ingredients\":null,\"ecobalyse_code\":null,"#)
            writer.raw(#"\"processing\":null,\"labels\":null,\"origins\":null,\"ecobalyse_proxy_code\":null,"#)
            writer.raw(#"\"quantity\":null,\"quantity_g\":null,\"ciqual_proxy_food_code\":null}"#)
            return true
        }
        writer.raw("\"")
    }

    func appendIngredientsText(_ product: Product, _ random: inout RandomBits, to writer: inout JSONWriter) {
        let size = random.quantile([20, 45, 130, 255, 410, 950, 1780, 4000])
        guard product.hasIngredients else { return writer.raw("[]") }
        var text: [UInt8] = []
        while Double(text.count) < size {
            if !text.isEmpty { text += Array(", ".utf8) }
            text += Array(vocabulary.words[random.index(vocabulary.words.count)].utf8)
        }
        // The main text, the same under its language, and once more with marks for allergens.
        let languages = ["main", product.language, product.language]
        writer.list { index, writer in
            guard index < languages.count else { return false }
            writer.raw(#"{"lang":"#)
            writer.string(languages[index].utf8)
            writer.raw(#","text":"#)
            writer.string(text)
            writer.raw("}")
            return true
        }
    }

    private static let scoreCountries = [
        "be", "fo", "ch", "il", "ba", "pt", "de", "eg", "pl", "se", "je", "fi", "it", "md", "si", "ly", "va", "ad",
        "ro", "lv",
        "mc", "sj", "xk", "gi", "sm", "dz", "nl", "uk", "mt", "lu", "al", "lt", "mk", "cy", "rs", "at", "gr", "hr",
        "es", "gg",
        "li", "tr", "sy", "im", "lb", "ma", "cz", "ps", "hu", "me", "is", "no", "ua", "ie", "fr", "sk", "dk", "us",
        "ax", "tn",
        "bg", "world", "ee",
    ]

    /// The three tables by country that every record has.
    private static let scoreTables: [UInt8] = {
        func table(_ name: String, _ value: String) -> String {
            #"\"\#(name)\":{"# + scoreCountries.map { #"\"\#($0)\":\#(value)"# }.joined(separator: ",") + "}"
        }
        return Array(
            [table("values", "-5"), table("transportation_scores", "0.0"), table("transportation_values", "0")]
                .joined(separator: ",").utf8)
    }()

    func appendEnvironmentalScore(_ random: inout RandomBits, to writer: inout JSONWriter) {
        if random.chance(0.042) { return writer.null() }
        writer.raw(#""{\"adjustments\":{\"production_system\":{\"labels\":[],\"value\":0,\"warning\":\"no_label\"},"#)
        writer.raw(#"\"threatened_species\":{},\"packaging\":{\"warning\":\"packaging_data_missing\",\"value\":-15},"#)
        writer.raw(#"\"origins_of_ingredients\":{\"origins_from_categories\":[\"en:unknown\"],"#)
        writer.raw(#"\"origins_from_origins_field\":[\"en:unknown\"],"#)
        writer.raw(Self.scoreTables)
        writer.raw(#",\"epi_score\":0,\"warning\":\"origins_are_100_percent_unknown\"}},\"missing_key_data\":1"#)
        if random.chance(0.45) {
            let end = writer.bytes.count + Int(random.quantile([1800, 1900, 2000, 2200, 2500, 3100, 3600, 4800]))
            writer.raw(#",\"agribalyse\":{\"agribalyse_food_code\":\""#)
            writer.integer(1000 + random.index(30_000))
            writer.raw(#"\""#)
            while writer.bytes.count < end {
                writer.raw(#",\"ef_"#)
                writer.raw(Array(vocabulary.words[random.index(vocabulary.words.count)].utf8))
                writer.raw(#"\":"#)
                writer.float32(random.unit() / 7)
            }
            writer.raw("}")
        }
        writer.raw(#",\"status\":\"unknown\",\"grade\":\"unknown\"}""#)
    }

    func appendImages(language: String, _ random: inout RandomBits, to writer: inout JSONWriter) {
        if random.chance(0.18) { return writer.raw("[]") }
        let end = writer.bytes.count + Int(random.quantile([177, 300, 600, 950, 1500, 3500, 8000, 12_000]))
        writer.list { index, writer in
            guard index == 0 || writer.bytes.count < end else { return false }
            let isSelected = index >= 3
            writer.raw(#"{"key":"#)
            if isSelected {
                writer.string("\(["front", "ingredients", "nutrition", "packaging"][index % 4])_\(language)".utf8)
            } else {
                writer.string("\(index + 1)".utf8)
            }
            writer.raw(#","imgid":"#)
            isSelected ? writer.integer(index) : writer.null()
            writer.raw(#","rev":"#)
            isSelected ? writer.integer(3 + random.index(40)) : writer.null()
            let width = 40 + random.index(60)
            for (key, height) in [
                (#","sizes":{"100":{"h":"#, 100), (#","400":{"h":"#, 400), (#"},"full":{"h":"#, 1200),
            ]
                as [(StaticString, Int)]
            {
                writer.raw(key)
                writer.integer(height)
                writer.raw(#","w":"#)
                writer.integer(width * height / 100)
                if height == 100 { writer.raw(isSelected ? #"},"200":{"h":200,"w":150}"# : #"},"200":null"#) }
            }
            writer.raw(#"}},"uploaded_t":"#)
            if isSelected {
                writer.raw(#"null,"uploader":null}"#)
            } else {
                writer.integer(1_450_000_000 + random.index(330_000_000))
                writer.raw(#","uploader":"#)
                writer.raw(vocabulary.contributors.quoted[random.index(vocabulary.contributors.quoted.count)])
                writer.raw("}")
            }
            return true
        }
    }
}

extension ProductGenerator {
    /// A column: its key with the comma before it, and what is in it.
    struct Column: Sendable {
        var key: [UInt8]
        var content: Content
    }

    /// What a column holds.
    enum Content: Sendable {
        case constant(StaticString)
        case code, grade, novaTags, categories, brands, packagings, additives, names, nutriments
        case additiveCount, brandNames, categoryNames, novaGroup, novaGroups, language, schemaVersion
        case categoryCodes, ingredients, ingredientsText, environmentalScore, images, states, dates, score
        /// Null or "".
        case emptyText(null: Double)
        /// Null, or a whole number by quantiles; where `withIngredients`, null without ingredients.
        case integer(null: Double, [Double], withIngredients: Bool = false)
        /// A time in seconds since 1970.
        case time(null: Double)
        /// Null, empty, or tags until so many bytes are there.
        case tags(
            any KeyPath<ProductVocabulary, ProductVocabulary.Tags> & Sendable, null: Double, empty: Double,
            bytes: [Double])
        case ingredientTags(bytes: [Double])
        case oneOf([StaticString])
    }

    static let content: [String: Content] = [
        "additives_n": .additiveCount, "additives_tags": .additives,
        "allergens_tags": .tags(\.ingredientTags, null: 0, empty: 0.68, bytes: [10, 10, 10, 20, 30, 60, 80, 90]),
        "brands_tags": .brands, "brands": .brandNames, "categories": .categoryNames, "categories_tags": .categories,
        "categories_properties": .categoryCodes, "checkers_tags": .constant("[]"),
        "ciqual_food_name_tags": .oneOf([#"["unknown"]"#, "null"]),
        "cities_tags": .oneOf(["null", "null", "[]"]), "code": .code,
        "compared_to_category": .oneOf(["null", #""en:oat-based-drinks""#, #""en:snacks""#]),
        "complete": .constant("0"), "completeness": .score,
        "correctors_tags": .tags(\.contributors, null: 0, empty: 0.24, bytes: [10, 15, 29, 51, 105, 247, 439, 900]),
        "countries_tags": .tags(\.countries, null: 0, empty: 0, bytes: [10, 10, 10, 12, 14, 45, 80, 200]),
        "created_t": .time(null: 0),
        "creator": .oneOf([#""kiliweb""#, #""openfoodfacts-contributors""#, #""macrofactor""#]),
        "data_quality_errors_tags": .tags(
            \.warningTags, null: 0, empty: 0.9, bytes: [60, 60, 90, 130, 180, 300, 400, 500]),
        "data_quality_info_tags": .tags(\.infoTags, null: 0, empty: 0, bytes: [99, 101, 105, 130, 150, 180, 230, 300]),
        "data_quality_warnings_tags": .tags(
            \.warningTags, null: 0, empty: 0, bytes: [34, 100, 180, 220, 270, 480, 640, 900]),
        "data_sources_tags": .oneOf([
            "null", #"["app-yuka","apps","app-macrofactor"]"#, #"["database-usda-ndb","databases"]"#,
        ]),
        "environmental_score_data": .environmentalScore,
        "environmental_score_grade": .oneOf([#""unknown""#, #""c""#, #""b""#]),
        "environmental_score_score": .integer(null: 0.71, [0, 5, 30, 50, 65, 85, 95, 120]),
        "environmental_score_tags": .oneOf([#"["unknown"]"#, #"["c"]"#, #"["b"]"#]),
        "emb_codes_tags": .oneOf(["null", "null", "[]"]), "emb_codes": .emptyText(null: 0.67),
        "entry_dates_tags": .dates,
        "food_groups_tags": .tags(\.ingredientTags, null: 0, empty: 0.58, bytes: [10, 14, 20, 40, 60, 80, 90, 100]),
        "generic_name": .constant("[]"), "images": .images,
        "informers_tags": .tags(\.contributors, null: 0, empty: 0, bytes: [10, 13, 33, 63, 101, 184, 274, 600]),
        "ingredients_analysis_tags": .oneOf([#"["en:palm-oil-free","en:vegan","en:vegetarian"]"#, "null"]),
        "ingredients_from_palm_oil_n": .integer(null: 0.2, [0, 0, 0, 0, 0, 1, 1, 2], withIngredients: true),
        "ingredients_n": .integer(null: 0, [1, 1, 5, 12, 19, 33, 49, 90], withIngredients: true),
        "ingredients_original_tags": .ingredientTags(bytes: [7, 19, 92, 197, 320, 607, 981, 1800]),
        "ingredients_percent_analysis": .integer(null: 0.1, [-1, 1, 1, 1, 1, 1, 1, 1], withIngredients: true),
        "ingredients_tags": .ingredientTags(bytes: [8, 36, 159, 322, 505, 860, 1308, 2000]),
        "ingredients_text": .ingredientsText,
        "ingredients_with_specified_percent_n": .integer(null: 0, [0, 0, 0, 0, 1, 4, 8, 15], withIngredients: true),
        "ingredients_with_unspecified_percent_n": .integer(
            null: 0, [0, 1, 4, 10, 18, 31, 45, 80], withIngredients: true),
        "ingredients_without_ciqual_codes_n": .integer(null: 0, [0, 0, 2, 5, 9, 18, 28, 50], withIngredients: true),
        "ingredients_without_ciqual_codes": .ingredientTags(bytes: [2, 10, 50, 120, 220, 430, 700, 1200]),
        "ingredients": .ingredients,
        "known_ingredients_n": .integer(null: 0, [0, 1, 8, 20, 31, 52, 75, 110], withIngredients: true),
        "labels_tags": .tags(\.ingredientTags, null: 0.45, empty: 0.09, bytes: [14, 20, 30, 50, 90, 180, 260, 400]),
        "labels": .emptyText(null: 0.45), "lang": .language,
        "languages_tags": .oneOf([#"["en:english","en:1"]"#, #"["en:english","en:spanish","en:2","en:multilingual"]"#]),
        "last_edit_dates_tags": .dates, "last_editor": .oneOf([#""macrofactor""#, #""openfoodfacts-contributors""#]),
        "last_image_t": .time(null: 0.18),
        "last_modified_by": .oneOf([#""macrofactor""#, #""openfoodfacts-contributors""#]),
        "last_modified_t": .time(null: 0), "last_updated_t": .time(null: 0), "link": .emptyText(null: 0.68),
        "main_countries_tags": .constant("[]"), "manufacturing_places_tags": .oneOf(["null", "null", "[]"]),
        "manufacturing_places": .emptyText(null: 0.68), "max_imgid": .integer(null: 0.18, [1, 1, 2, 3, 5, 10, 20, 60]),
        "minerals_tags": .oneOf(["null", "[]", "[]", #"["en:calcium","en:iron"]"#]),
        "misc_tags": .tags(\.miscTags, null: 0, empty: 0, bytes: [33, 370, 500, 660, 790, 1050, 1350, 2000]),
        "no_nutrition_data": .oneOf(["null", "null", "null", "false"]), "nova_group": .novaGroup,
        "nova_groups_tags": .novaTags, "nova_groups": .novaGroups, "nucleotides_tags": .oneOf(["null", "[]", "[]"]),
        "nutrient_levels_tags": .oneOf([
            "[]",
            #"["en:fat-in-moderate-quantity","en:saturated-fat-in-low-quantity","en:sugars-in-moderate-quantity","en:salt-in-low-quantity"]"#,
        ]),
        "nutriments": .nutriments, "nutriscore_grade": .grade,
        "nutriscore_score": .integer(null: 0.56, [-15, -6, -1, 4, 14, 24, 30, 42]),
        "nutrition_data_per": .oneOf([#""100g""#, #""serving""#, #""100g""#, "null"]), "obsolete": .constant("false"),
        "origins_tags": .oneOf(["null", "null", "[]"]), "origins": .emptyText(null: 0.66),
        "packagings_complete": .oneOf(["null", "null", "null", "false"]), "packaging_recycling_tags": .constant("[]"),
        "packaging_shapes_tags": .oneOf(["[]", "[]", "[]", "[]", "[]", #"["en:bottle","en:lid"]"#]),
        "packaging_tags": .packagings, "packaging_text": .constant("[]"), "packaging": .emptyText(null: 0.75),
        "packagings": .oneOf([
            "[]", "[]", "[]", "[]",
            #"[{"material":"en:glass","number_of_units":1,"quantity_per_unit":"350","quantity_per_unit_unit":null,"quantity_per_unit_value":null,"recycling":"en:recycle-in-sorting-bin","shape":"en:jar","weight_measured":null}]"#,
        ]),
        "popularity_key": .integer(null: 0, [0, 0, 1, 2, 5, 40, 200, 5000]),
        "popularity_tags": .tags(
            \.popularityTags, null: 0.41, empty: 0, bytes: [29, 194, 294, 593, 1362, 4393, 9726, 14_000]),
        "product_name": .names, "product_quantity_unit": .oneOf(["null", #""g""#, #""ml""#]),
        "product_quantity": .oneOf(["null", #""225""#, #""1000""#]),
        "purchase_places_tags": .oneOf(["null", "null", "[]"]),
        "quantity": .emptyText(null: 0.41), "rev": .integer(null: 0, [1, 2, 4, 8, 15, 40, 80, 300]),
        "scans_n": .integer(null: 0.41, [1, 1, 1, 2, 6, 40, 200, 5000]),
        "serving_quantity": .oneOf(["null", #""100""#, #""28""#]),
        "serving_size": .oneOf(["null", #""1 portion (100 ml)""#, #""28 g""#]),
        "states_tags": .states, "stores_tags": .oneOf(["null", "null", "[]"]), "stores": .emptyText(null: 0.67),
        "traces_tags": .tags(\.ingredientTags, null: 0, empty: 0.9, bytes: [10, 10, 10, 20, 40, 60, 80, 90]),
        "unique_scans_n": .integer(null: 0.41, [1, 1, 1, 2, 5, 30, 150, 4000]),
        "unknown_ingredients_n": .integer(null: 0, [0, 0, 0, 1, 3, 9, 16, 40], withIngredients: true),
        "unknown_nutrients_tags": .constant("[]"), "vitamins_tags": .oneOf(["null", "[]", "[]", #"["en:vitamin-c"]"#]),
        "schema_version": .schemaVersion,
    ]

    /// Appends the row object of `product`, all columns in order.
    func append(_ product: Product, to writer: inout JSONWriter) {
        var random = product.random
        for column in columns {
            writer.raw(column.key)
            append(column.content, of: product, random: &random, to: &writer)
        }
        writer.raw("}")
    }

    private func append(_ content: Content, of product: Product, random: inout RandomBits, to writer: inout JSONWriter)
    {
        switch content {
        case .constant(let text): writer.raw(text)
        case .code: writer.string(product.code.utf8)
        case .grade: append(product.grade, to: &writer)
        case .novaTags: append(product.nova.map { [ProductVocabulary.novaTags[$0]] }, to: &writer)
        case .categories: append(product.categories, to: &writer)
        case .brands: append(product.brands, to: &writer)
        case .packagings: append(product.packagings, to: &writer)
        case .additives: append(product.additives, to: &writer)
        case .names: append(product.names, to: &writer)
        case .nutriments: appendNutriments(isNewLayout: product.isNewLayout, &random, to: &writer)
        case .additiveCount: product.additives.map { writer.integer($0.count) } ?? writer.null()
        case .brandNames: append(product.brands?.joined(separator: ", "), to: &writer)
        case .categoryNames: append(product.categories?.first.map { String($0.dropFirst(3)) }, to: &writer)
        case .novaGroup:
            if let nova = product.nova, nova < 4 { writer.integer(nova + 1) } else { writer.null() }
        case .novaGroups:
            if let nova = product.nova, nova < 4 { writer.string("\(nova + 1)".utf8) } else { writer.null() }
        case .language: writer.string(product.language.utf8)
        case .schemaVersion: writer.integer(product.isNewLayout ? 1003 : 998 + random.index(5))
        case .categoryCodes:
            let code = random.chance(0.4) ? String(1000 + random.index(39_000)) : "null"
            writer.raw(
                Array(
                    #"{"ciqual_food_code":\#(code),"agribalyse_food_code":\#(code),"agribalyse_proxy_food_code":null}"#
                        .utf8))
        case .ingredients: appendIngredients(product, &random, to: &writer)
        case .ingredientsText: appendIngredientsText(product, &random, to: &writer)
        case .environmentalScore: appendEnvironmentalScore(&random, to: &writer)
        case .images: appendImages(language: product.language, &random, to: &writer)
        case .states:
            writer.list { index, writer in
                guard index < vocabulary.statesDone.quoted.count else { return false }
                writer.raw(
                    random.chance(0.5) ? vocabulary.statesDone.quoted[index] : vocabulary.statesOpen.quoted[index])
                return true
            }
        case .dates:
            let year = 2016 + random.index(11)
            let month = 10 + random.index(3)
            writer.raw(Array(#"["\#(year)-\#(month)-\#(10 + random.index(19))","\#(year)-\#(month)","\#(year)"]"#.utf8))
        case .score: writer.float32(Double(1 + random.index(40)) / 40)
        case .emptyText(let null): random.chance(null) ? writer.null() : writer.raw(#""""#)
        case .integer(let null, let values, let withIngredients):
            let number = random.count(values)
            if random.chance(null) || (withIngredients && !product.hasIngredients) {
                writer.null()
            } else {
                writer.integer(number)
            }
        case .time(let null):
            let time = 1_450_000_000 + random.index(330_000_000)
            random.chance(null) ? writer.null() : writer.integer(time)
        case .tags(let path, let null, let empty, let bytes):
            let draw = random.unit()
            if draw < null {
                writer.null()
            } else if draw < null + empty {
                writer.raw("[]")
            } else {
                appendTags(vocabulary[keyPath: path], bytes: random.quantile(bytes), &random, to: &writer)
            }
        case .ingredientTags(let bytes):
            let size = random.quantile(bytes)
            if product.hasIngredients {
                appendTags(vocabulary.ingredientTags, bytes: size, &random, to: &writer)
            } else {
                writer.null()
            }
        case .oneOf(let texts): writer.raw(texts[random.index(texts.count)])
        }
    }

    private func append(_ text: String?, to writer: inout JSONWriter) {
        if let text { writer.string(text.utf8) } else { writer.null() }
    }

    private func append(_ tags: [String]?, to writer: inout JSONWriter) {
        guard let tags else { return writer.null() }
        writer.list { index, writer in
            guard index < tags.count else { return false }
            writer.string(tags[index].utf8)
            return true
        }
    }

    private func append(_ texts: [Text], to writer: inout JSONWriter) {
        writer.list { index, writer in
            guard index < texts.count else { return false }
            writer.raw(#"{"lang":"#)
            writer.string(texts[index].language.utf8)
            writer.raw(#","text":"#)
            writer.string(texts[index].text.utf8)
            writer.raw("}")
            return true
        }
    }

    private func appendTags(
        _ tags: ProductVocabulary.Tags, bytes: Double, _ random: inout RandomBits, to writer: inout JSONWriter
    ) {
        let end = writer.bytes.count + Int(bytes)
        writer.list { index, writer in
            guard index == 0 || writer.bytes.count < end else { return false }
            writer.raw(tags.quoted[random.index(tags.quoted.count)])
            return true
        }
    }
}

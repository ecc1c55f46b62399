-- One line a table: its name, the rows expected, the rows there, and how many stand on one side only.
-- Afterwards: every such row of each table, at most five a table.

create temporary view difference as
select 'nutriscore_counts' as table_name, side, to_jsonb(d) as row from (
    (select 'missing' as side, * from (select nutriscore, product_count from expected.nutriscore_counts
        except all select nutriscore, product_count from public.nutriscore_counts) m)
    union all
    (select 'unexpected', * from (select nutriscore, product_count from public.nutriscore_counts
        except all select nutriscore, product_count from expected.nutriscore_counts) u)) d
union all
select 'category_counts', side, to_jsonb(d) from (
    (select 'missing' as side, * from (select main_category, category_count from expected.category_counts
        except all select main_category, category_count from public.category_counts) m)
    union all
    (select 'unexpected', * from (select main_category, category_count from public.category_counts
        except all select main_category, category_count from expected.category_counts) u)) d
union all
select 'brand_counts', side, to_jsonb(d) from (
    (select 'missing' as side, * from (select brand, product_count from expected.brand_counts
        except all select brand, product_count from public.brand_counts) m)
    union all
    (select 'unexpected', * from (select brand, product_count from public.brand_counts
        except all select brand, product_count from expected.brand_counts) u)) d
union all
select 'packaging_distribution', side, to_jsonb(d) from (
    (select 'missing' as side, * from (select packaging, packaging_count from expected.packaging_distribution
        except all select packaging, packaging_count from public.packaging_distribution) m)
    union all
    (select 'unexpected', * from (select packaging, packaging_count from public.packaging_distribution
        except all select packaging, packaging_count from expected.packaging_distribution) u)) d
union all
select 'nova_group_classification', side, to_jsonb(d) from (
    (select 'missing' as side, * from (
        select nova_group, nova_label, product_count from expected.nova_group_classification
        except all select nova_group, nova_label, product_count from public.nova_group_classification) m)
    union all
    (select 'unexpected', * from (
        select nova_group, nova_label, product_count from public.nova_group_classification
        except all select nova_group, nova_label, product_count from expected.nova_group_classification) u)) d
union all
select 'top_additive_products', side, to_jsonb(d) from (
    (select 'missing' as side, * from (
        select product_name, additive_count, most_common_additive from expected.top_additive_products
        except all select product_name, additive_count, most_common_additive from public.top_additive_products) m)
    union all
    (select 'unexpected', * from (
        select product_name, additive_count, most_common_additive from public.top_additive_products
        except all select product_name, additive_count, most_common_additive from expected.top_additive_products) u)) d
union all
select 'top_sugary_products_by_category', side, to_jsonb(d) from (
    (select 'missing' as side, * from (
        select main_category, product_name, sugar from expected.top_sugary_products_by_category
        except all select main_category, product_name, sugar from public.top_sugary_products_by_category) m)
    union all
    (select 'unexpected', * from (
        select main_category, product_name, sugar from public.top_sugary_products_by_category
        except all select main_category, product_name, sugar from expected.top_sugary_products_by_category) u)) d;

create temporary view sizes(table_name, expected, found) as
values
    ('nutriscore_counts', (select count(*) from expected.nutriscore_counts), (select count(*) from public.nutriscore_counts)),
    ('category_counts', (select count(*) from expected.category_counts), (select count(*) from public.category_counts)),
    ('brand_counts', (select count(*) from expected.brand_counts), (select count(*) from public.brand_counts)),
    ('packaging_distribution',
        (select count(*) from expected.packaging_distribution), (select count(*) from public.packaging_distribution)),
    ('nova_group_classification',
        (select count(*) from expected.nova_group_classification), (select count(*) from public.nova_group_classification)),
    ('top_additive_products',
        (select count(*) from expected.top_additive_products), (select count(*) from public.top_additive_products)),
    ('top_sugary_products_by_category',
        (select count(*) from expected.top_sugary_products_by_category),
        (select count(*) from public.top_sugary_products_by_category));

select table_name, expected, found, (select count(*) from difference where difference.table_name = sizes.table_name)
from sizes;

select table_name, side, row
from (select *, row_number() over (partition by table_name, side order by row) as number from difference) as numbered
where number <= 5;

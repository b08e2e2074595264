"""From a page document to static HTML: `page.render_page`, `page.site_css`, `page.site_js`."""

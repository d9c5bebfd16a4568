"""What several pages draw, and their way to the store."""

from streamlit.runtime.pages_manager import PagesManager

# Our pages stand in pages/ and are named by st.navigation in app.py. Streamlit, seeing that folder, would run
# a page without app.py when it is the first thing a fresh server is asked for.
PagesManager.uses_pages_directory = False
